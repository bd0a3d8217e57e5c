// Works on the channel "jobs" of the folder that is its argument until nothing is left. One message makes the handler
// kill its own process; each other one leaves an effect.
import { open } from 'holdfast';

const holdfast = await open(`file:${process.argv[2]}`);
const jobs = holdfast.channel('jobs', { retain: { completed: false } });
const effects = holdfast.channel('effects');
await jobs.inspect();
// A handler may end while the counts are on their way here, so that it did is kept until somebody looks.
let hasEnded = false;
let wake = () => {};
const consumer = await jobs.consume(
  ({ number, isDeadly }, { tx }) => {
    if (isDeadly) process.kill(process.pid, 'SIGKILL');
    tx.produce(effects, { number });
    setImmediate(() => {
      hasEnded = true;
      wake();
    });
  },
  { concurrency: 4 },
);
for (;;) {
  const { ready, delayed, leased } = await jobs.inspect();
  if (ready + delayed + leased === 0) break;
  if (!hasEnded) await new Promise((resolve) => (wake = resolve));
  hasEnded = false;
}
await consumer.drain();
await holdfast.close();
