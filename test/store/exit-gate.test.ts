import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { ExitGate } from '#holdfast/store/exit-gate.js';

test('shut() waits for what is passing, and lets nothing pass any more', async () => {
  const gate = new ExitGate();
  const counts = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL('./exit-gate-script.mjs', import.meta.url), {
    workerData: { memory: gate.memory, counts },
  });
  await once(worker, 'message');

  gate.shut();

  const [begun, finished] = counts;
  expect(begun).toBeGreaterThanOrEqual(3);
  expect(finished).toBe(begun);
  gate.shut();
  // A thread that stands before a shut gate can be stopped.
  await worker.terminate();
  expect([...counts]).toEqual([begun, begun]);
});
