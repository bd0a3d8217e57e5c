// Opens its consumer itself, as any program does. What a handler does is said by its message.
import { open } from 'holdfast';
import { appears, say } from './say.mjs';

const hf = await open();

await hf.channel('jobs').consume(
  async (job, { attempt, redelivered, signal }) => {
    signal.addEventListener('abort', () => say({ said: 'stopped', job: job.name }));
    say({ said: 'handling', job: job.name, attempt, redelivered });
    if (job.exit !== undefined) process.exit(job.exit);
    if (job.signal !== undefined) process.kill(process.pid, job.signal);
    if (job.fills === true) fillMemory();
    if (job.holds === true) await new Promise(() => {});
    if (job.waitsFor !== undefined) await appears(job.waitsFor);
    if (job.blocks === true) say({ said: 'blocking', job: job.name });
    while (job.blocks === true);
    say({ said: 'handled', job: job.name, attempt });
    return process.pid;
  },
  { concurrency: Number(process.env.CONCURRENCY ?? 1), prefetch: 0 },
);

function fillMemory() {
  const hold = [];
  for (;;) hold.push(Array.from({ length: 100_000 }, () => ({})));
}
