/** `holdfast restore`: a new store from a backup. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { writeJson, writeLine } from '../output.ts';
import { momentText } from '../text.ts';

export function addRestore(program: Command): void {
  program
    .command('restore <file>')
    .description('make a new store of a backup, in a folder that holds none')
    .option('--json', 'write JSON, for programs')
    .addOption(new Option('--data <folder>', 'the folder of the new store').env('HOLDFAST_DATA').makeOptionMandatory())
    .addHelpText('after', '\nExample:\n  holdfast restore ./monday.hfbackup --data ./restored')
    .action(async (file: string, { data, json }: { readonly data: string; readonly json?: true }) => {
      const { restore } = await import('../../restore.ts');
      const { space, at } = await restore(file, data);
      if (json === true) await writeJson({ folder: resolve(data), space, at });
      else await writeLine(`${data}: the space "${space}" as of ${momentText(at)}`);
    });
}
