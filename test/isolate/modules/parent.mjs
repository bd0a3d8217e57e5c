// A process that has a handler which blocks its isolate, or waits, and tells of it.
import { open } from 'holdfast';

const [data, what] = process.argv.slice(2);
const hf = await open(`file:${data}`);
const jobs = hf.channel('jobs');
await jobs.consume(new URL('./work.mjs', import.meta.url), { isolate: 'process' });
const { process: pid } = await jobs.request({ do: 'echo' });
await jobs.produce({ do: what });
while ((await jobs.inspect()).leased === 0);
process.stdout.write(`${pid}\n`);
