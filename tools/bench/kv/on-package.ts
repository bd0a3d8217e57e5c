/** One workload on the package `@deno/kv`: `on-package.js PLACE WORK FILE`, where PLACE has it installed. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type MeasuredKv, WORKLOADS } from './workloads.ts';

const [, , place = '', work = '', file = ''] = process.argv;
const rival = createRequire(join(place, 'package.json'))('@deno/kv') as {
  openKv(path: string): Promise<MeasuredKv>;
};
const run = WORKLOADS[work];
if (run === undefined) throw new RangeError(`Cannot find the workload "${work}"`);
console.log(JSON.stringify(await run(await rival.openKv(file))));
process.exit(0);
