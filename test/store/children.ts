import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Epoch } from '#holdfast/model/records.js';
import type { Store } from '#holdfast/store/store.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Where Debian has programs that an ordinary user's PATH does not name. */
const environment = { ...process.env, PATH: `${process.env['PATH']}:/usr/local/sbin:/usr/sbin:/sbin` };

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly errors: string;
}

/** Makes Debian programs available, or throws. */
export function need(...programs: string[]): void {
  execFileSync(`${root}scripts/need.sh`, programs, { env: environment });
}

/** Runs a program to its end, with the root of the project as its folder. */
export function run(program: string, parameters: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, { cwd: root, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout.on('data', (piece: Buffer) => output.push(piece));
    child.stderr.on('data', (piece: Buffer) => errors.push(piece));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({ code, signal, output: Buffer.concat(output).toString(), errors: Buffer.concat(errors).toString() });
    });
  });
}

/** Runs a program and throws when it fails. */
export function must(program: string, ...parameters: string[]): void {
  execFileSync(program, parameters, { cwd: root, env: environment, stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Does `work` for each item, a few at a time; throws the first error when all are done. */
export async function inParallel<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const left = items.values();
  const lanes = Array.from({ length: atOnce }, async () => {
    for (const item of left) await work(item);
  });
  for (const lane of await Promise.allSettled(lanes)) if (lane.status === 'rejected') throw lane.reason;
}

/** The digest of everything in a store, as the scripts in this folder compute it. */
export async function digestOf(store: Store, epoch: Epoch): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of store.range(epoch, { from: new Uint8Array(), to: Uint8Array.of(0xff, 0xff) })) {
    for (const { key, value } of chunk) hash.update(`${key.length} ${value.length} `).update(key).update(value);
  }
  return hash.digest('hex');
}
