// A thread that passes a gate again and again: it says so when it is inside, works for a while, and counts what it has finished.
import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { ExitGate } from '#holdfast/store/exit-gate.js';

const { memory, counts } = workerData;
const [begun, finished] = [0, 1];
const gate = new ExitGate(memory);
const work = new Uint8Array(20_000_000);
for (;;) {
  gate.pass(() => {
    Atomics.add(counts, begun, 1);
    if (counts[begun] === 3) parentPort.postMessage('inside for the third time');
    // What passes may pass again.
    gate.pass(() => createHash('sha256').update(work).digest());
    Atomics.add(counts, finished, 1);
  });
}
