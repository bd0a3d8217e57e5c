// A worker that says each job that it starts, and finishes those that it is not told to hold.
import { Worker } from '../../../dist/doors/bullmq/index.js';

const { connection, queue, holds } = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const worker = new Worker(
  queue,
  async (job) => {
    say({ started: job.id, at: Date.now(), attemptsStarted: job.attemptsStarted });
    if (holds) await new Promise(() => {});
    return { by: process.pid };
  },
  { connection, concurrency: 4 },
);
worker.on('error', (error) => say({ error: error.message }));
await worker.waitUntilReady();
say({ ready: process.pid });
