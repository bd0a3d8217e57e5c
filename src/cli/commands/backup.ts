/** `holdfast backup`: a store in one file, while it is in use. */
import { open, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import { HoldfastError } from '../../model/errors.ts';
import { systemRandom } from '../../model/random.ts';
import { writeJson, writeLine } from '../output.ts';
import { addStoreCommand, untilInterrupted } from '../store-command.ts';
import { withStore } from '../with-store.ts';
import { sizeText } from '../text.ts';

export function addBackup(program: Command): void {
  addStoreCommand(
    program,
    'backup <file>',
    'write all of the store into one file, while it is in use',
    'holdfast backup ./monday.hfbackup --data ./data',
  ).action((file: string, options: { readonly json?: true }, command: Command) =>
    withStore(command, async (hf) => {
      const bytes = await backUp(hf, file, untilInterrupted());
      if (options.json === true) await writeJson({ file: resolve(file), bytes });
      else await writeLine(`${file}: ${sizeText(bytes)}`);
    }),
  );
}

/** The file has its name when it is whole and on the disk, and not before. */
async function backUp(hf: Holdfast, file: string, signal: AbortSignal): Promise<number> {
  const suffix = Buffer.from(systemRandom.fill(new Uint8Array(6))).toString('hex');
  const partial = `${file}.partial-${suffix}`;
  // It holds every payload, so it is for nobody else's eyes.
  const handle = await open(partial, 'wx', 0o600);
  let bytes = 0;
  try {
    try {
      for await (const part of hf.backup({ signal })) {
        await handle.writeFile(part);
        bytes += part.length;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    if (signal.aborted) throw new HoldfastError('CLOSED', 'The backup was interrupted; nothing is left of it');
    throw error;
  }
  // Windows cannot sync a folder, and need not.
  if (process.platform !== 'win32') await syncFolder(dirname(resolve(file)));
  return bytes;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
