/** Working on a store that is there. */
import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { Holdfast } from '../api/holdfast.ts';
import { HoldfastError } from '../model/errors.ts';
import { openTarget, type TargetOptions } from './target.ts';

/**
 * Runs with the store that a command is told to look at; a folder without one is refused, since opening would make it.
 *
 * @throws as `openTarget`; HoldfastError `NOT_FOUND`
 */
export async function withStore(command: Command, run: (hf: Holdfast) => Promise<void>): Promise<void> {
  const options: TargetOptions = command.opts();
  await refuseAbsent(options);
  const hf = await openTarget(options);
  try {
    await run(hf);
  } finally {
    await hf.close();
  }
}

async function refuseAbsent({ url, data, space = 'default' }: TargetOptions): Promise<void> {
  const folder = url === undefined ? data : url.startsWith('file:') ? folderOf(url) : undefined;
  if (folder === undefined || folder === '') return;
  const isThere = await access(join(resolve(folder), `${space}.mdb`)).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  const which = space === 'default' ? 'store' : `store of the space "${space}"`;
  throw new HoldfastError('NOT_FOUND', `Cannot open "${folder}": no ${which} is there`);
}

function folderOf(url: string): string {
  return url.startsWith('file://') ? fileURLToPath(url) : url.slice('file:'.length);
}
