/** What the demo is asked for on its command line. */
import { mkdir, mkdtemp, readdir, realpath, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseCommandLine, UsageError } from '../command-line.ts';

export interface DemoRequest {
  readonly folder: string;
  readonly data: string;
  /** The data folder is the demo's own and goes at the end. */
  readonly dataIsTemporary: boolean;
  readonly results: string | undefined;
  readonly json: boolean;
}

export const HELP = `Usage: npm run demo -- [--folder DIR] [--data DIR] [--results FILE] [--json]

One message for each file of a folder. Worker processes, two for each core, compute its SHA-256, line count
and gzip size. Workers, and whichever process leads the data folder, are killed on the way and others
started. At the end the folder is counted anew. A session outlives its connection by 3 seconds here, not 30: a
worker that dies while nobody leads is missed only then.

  --folder DIR     the files to work on; this project's installed packages when left out
  --data DIR       an empty folder that keeps the messages; a temporary one when left out
  --results FILE   writes one JSON line for each completed file, with its path and sha256
  --json           prints one JSON object as the last line`;

/** @returns `undefined` when only help is asked for. @throws UsageError */
export async function readRequest(args: readonly string[]): Promise<DemoRequest | undefined> {
  const line = parseCommandLine(args, { words: 0, values: ['folder', 'data', 'results'], flags: ['json', 'help'] });
  if (line.flags.has('help')) return undefined;
  const { values } = line;
  const folder = await existingFolder(values.get('folder') ?? installedPackages(), '--folder');
  const results = values.get('results');
  if (results !== undefined) await existingFolder(dirname(resolve(results)), '--results');
  const given = values.get('data');
  return {
    folder,
    data:
      given === undefined ? await realpath(await mkdtemp(join(tmpdir(), 'holdfast-demo-'))) : await emptyFolder(given),
    dataIsTemporary: given === undefined,
    results: results === undefined ? undefined : resolve(results),
    json: line.flags.has('json'),
  };
}

function installedPackages(): string {
  // From `.build/tools/demo`, where this file is when it runs.
  return fileURLToPath(new URL('../../../node_modules', import.meta.url));
}

async function existingFolder(path: string, option: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) throw new UsageError(`Cannot use "${path}" for "${option}": there is no such folder`);
  if (!found.isDirectory()) throw new UsageError(`Cannot use "${path}" for "${option}": it is not a folder`);
  return realpath(path);
}

async function emptyFolder(path: string): Promise<string> {
  await mkdir(path, { recursive: true }).catch((error: Error) => {
    throw new UsageError(`Cannot use "${path}" for "--data": ${error.message}`);
  });
  if ((await readdir(path)).length > 0) {
    throw new UsageError(`Cannot use "${path}" for "--data": it is not empty, and its messages would be counted too`);
  }
  return realpath(path);
}
