import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { temporaryFolder } from './folders.ts';

const folder = temporaryFolder();
const script = fileURLToPath(new URL('endless-script.mjs', import.meta.url));
const ROUNDS = 12;

test('a process takes over from one that was killed while it committed, and finds all that it acknowledged', async () => {
  const path = join(folder, 'store');
  const store = await openLmdbStore({ path });
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const acknowledged = await killWhileCommitting(path, 20 + round * 17);
      const seen = await store.leader();
      expect(seen?.address).toBe('endless');
      const outcome = await store.acquire('next', seen);
      if (!('won' in outcome)) throw new Error('The race is lost');

      const [last, large] = await store.get(outcome.won, [Uint8Array.of(0), new Uint8Array(Buffer.from('large'))]);
      const applied = Number(Buffer.from(last ?? []).toString());
      // The commit under way may have been written, and its acknowledgement lost with the process.
      expect(applied - acknowledged).toBeGreaterThanOrEqual(0);
      expect(applied - acknowledged).toBeLessThanOrEqual(1);
      expect(Buffer.compare(large ?? new Uint8Array(), Buffer.alloc(20_000, String(applied)))).toBe(0);
      expect(await store.resolve(outcome.won, BigInt(acknowledged + 1))).toBe(
        applied > acknowledged ? 'applied' : 'absent',
      );
      await store.commit(outcome.won, 5_000n, [{ kind: 'put', key: Uint8Array.of(9), value: Uint8Array.of(round) }]);
    }
  } finally {
    await store.close();
  }
});

/** Returns the number of the last commit that was acknowledged. */
async function killWhileCommitting(path: string, commits: number): Promise<number> {
  const child = spawn('node', [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let last = -1;
  for await (const line of createInterface({ input: child.stdout })) {
    last = Number(line.slice('ack '.length));
    if (last === commits) child.kill('SIGKILL');
  }
  await closed;
  return last;
}
