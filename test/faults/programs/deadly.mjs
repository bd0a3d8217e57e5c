// Works on the channel "jobs" of the folder that is its argument until nothing is left. One message makes the handler
// kill its own process; each other one leaves an effect.
import { open } from 'holdfast';

const holdfast = await open(`file:${process.argv[2]}`);
const jobs = holdfast.channel('jobs', { retain: { completed: false } });
const effects = holdfast.channel('effects');
await jobs.inspect();
let wake = () => {};
const consumer = await jobs.consume(
  ({ number, isDeadly }, { tx }) => {
    if (isDeadly) process.kill(process.pid, 'SIGKILL');
    tx.produce(effects, { number });
    setImmediate(() => wake());
  },
  { concurrency: 4 },
);
for (;;) {
  const { ready, delayed, leased } = await jobs.inspect();
  if (ready + delayed + leased === 0) break;
  await new Promise((resolve) => (wake = resolve));
}
await consumer.drain();
await holdfast.close();
