// Works on the folder that is its argument until it is killed: produces consecutive numbers of its own to "jobs", says each
// one that is acknowledged, and doubles whatever comes into "doubled", in the same commit as the ack.
import { writeSync } from 'node:fs';
import { open } from 'holdfast';

const [, , folder, name] = process.argv;
const holdfast = await open(`file:${folder}`);
const jobs = holdfast.channel('jobs', { retain: { completed: { count: 100 } } });
const doubled = holdfast.channel('doubled');
await jobs.consume((job, { tx }) => tx.produce(doubled, job), { concurrency: 5 });
for (let number = 0; ; number++) {
  const { id } = await jobs.produce(`${name} ${number}`);
  writeSync(1, `${id} ${name} ${number}\n`);
}
