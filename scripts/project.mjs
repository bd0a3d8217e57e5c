import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the package, whatever the working directory of the caller is. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** What the tests use of others and no user of the package needs: folders with a lockfile of their own. */
export const integrations = ['deno', 'bullmq', 'injection', 'web', 'deepkit'].map((name) =>
  join(root, 'integrations', name),
);

/** Everything that a build writes; nothing else may be put there. */
export const outputs = { library: join(root, 'dist'), other: join(root, '.build') };

/** Removes every product of earlier builds. */
export async function clean() {
  for (const folder of Object.values(outputs)) await rm(folder, { recursive: true, force: true });
}

/** The path of a development dependency's program. */
export function program(name) {
  return join(root, 'node_modules', '.bin', name);
}

/**
 * Runs a command in the package folder and resolves to its exit code and, unless it is shown while it runs, its output.
 * A command that cannot be started, or that a signal ends, counts as failed.
 *
 * @param {readonly string[]} command
 * @param {{ show?: boolean }} [options]
 * @returns {Promise<{ code: number, output: string }>}
 */
export function run([file, ...args], { show = false } = {}) {
  return new Promise((resolve) => {
    let output = '';
    const child = spawn(file, args, {
      cwd: root,
      stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => (output += text));
    }
    child.once('error', (error) => resolve({ code: 1, output: `${output}${error.message}\n` }));
    child.once('close', (code, signal) => {
      resolve({ code: code ?? 1, output: signal ? `${output}Ended by ${signal}\n` : output });
    });
  });
}
