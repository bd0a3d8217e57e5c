/** What a command works on: a folder or a server, from flags or from the environment. */
import { type Command, Option } from 'commander';
import type { Holdfast } from '../api/holdfast.ts';
import { open } from '../open.ts';

export interface TargetOptions {
  readonly url?: string;
  readonly data?: string;
  readonly space?: string;
}

/** Adds the flags by which a command is told what it works on. */
export function addTargetOptions(command: Command): Command {
  return command
    .addOption(new Option('--url <url>', 'a server or folder, such as holdfast://localhost').env('HOLDFAST_URL'))
    .addOption(new Option('--data <folder>', 'a folder, as --url file:FOLDER').env('HOLDFAST_DATA'))
    .addOption(new Option('--space <name>', 'the space of a folder').env('HOLDFAST_SPACE'));
}

/** @throws TypeError when nothing is named; HoldfastError as `open` */
export function openTarget({ url, data, space }: TargetOptions): Promise<Holdfast> {
  const target = url ?? (data === undefined ? undefined : `file:${data}`);
  if (target === undefined) {
    throw new TypeError('Cannot tell what to work on: give --url or --data, or set HOLDFAST_URL or HOLDFAST_DATA');
  }
  return open(target, space === undefined ? {} : { space });
}
