/** What a command works on: a folder or a server, from flags or from the environment. */
import { type Command, Option } from 'commander';
import type { Holdfast } from '../api/holdfast.ts';
import { isAddress } from '../wire/address.ts';

export interface TargetOptions {
  readonly url?: string;
  readonly data?: string;
  readonly space?: string;
  readonly token?: string;
}

/** Adds the flags by which a command is told what it works on. */
export function addTargetOptions(command: Command): Command {
  return command
    .addOption(new Option('--url <url>', 'a server or folder, such as holdfast://localhost').env('HOLDFAST_URL'))
    .addOption(new Option('--data <folder>', 'a folder, as --url file:FOLDER').env('HOLDFAST_DATA'))
    .addOption(new Option('--space <name>', 'the space of a folder').env('HOLDFAST_SPACE'))
    .addOption(
      new Option('--token <token>', 'what to prove rights with; better in the environment').env('HOLDFAST_TOKEN'),
    )
    .hook('preAction', (_program, action) => preferFlags(action));
}

/** A flag counts more than the environment. */
function preferFlags(action: Command): void {
  const sourceOf = (name: string): string | undefined => action.getOptionValueSource(name);
  if (sourceOf('data') === 'cli' && sourceOf('url') === 'env') action.setOptionValue('url', undefined);
  const { url } = action.opts<TargetOptions>();
  // A server has its own space; the environment's is meant for folders.
  if (url !== undefined && isAddress(url) && sourceOf('space') === 'env') action.setOptionValue('space', undefined);
}

/** @throws TypeError when nothing is named; HoldfastError as `open` */
export async function openTarget({ url, data, space, token }: TargetOptions): Promise<Holdfast> {
  const target = url ?? (data === undefined ? undefined : `file:${data}`);
  if (target === undefined) {
    throw new TypeError('Cannot tell what to work on: give --url or --data, or set HOLDFAST_URL or HOLDFAST_DATA');
  }
  // Not before it is needed: help, and a word that is wrong, are said at once.
  const { open } = await import('../open.ts');
  return open(target, { ...(space !== undefined && { space }), ...(token !== undefined && { token }) });
}
