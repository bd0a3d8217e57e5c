import { existsSync, watch } from 'node:fs';
import { dirname } from 'node:path';

/** Writes a line for the test to read. */
export function say(what) {
  process.stdout.write(`${JSON.stringify({ said: what.said, process: process.pid, at: Date.now(), ...what })}\n`);
}

/** Resolves when the file is there. */
export async function appears(path) {
  await new Promise((resolve) => {
    const watcher = watch(dirname(path), () => look());
    const look = () => {
      if (!existsSync(path)) return;
      watcher.close();
      resolve();
    };
    look();
  });
}
