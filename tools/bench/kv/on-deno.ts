/** Run by Deno: one workload on a file, `on-deno.js WORK FILE`, and its figures as a line of JSON. */
import { type MeasuredKv, WORKLOADS } from './workloads.ts';

interface DenoGlobal {
  readonly args: readonly string[];
  openKv(path: string): Promise<MeasuredKv>;
  exit(code: number): never;
}

const { Deno } = globalThis as unknown as { readonly Deno: DenoGlobal };

const [work = '', file = ''] = Deno.args;
const kv = await Deno.openKv(file);

if (work === 'listen') {
  void kv.listenQueue(({ k }) => console.log(JSON.stringify({ messages: 1, p50Ms: Date.now() - k })));
  console.log('listening');
} else if (work === 'send') {
  await kv.enqueue({ k: Date.now() });
} else {
  const run = WORKLOADS[work];
  if (run === undefined) throw new RangeError(`Cannot find the workload "${work}"`);
  console.log(JSON.stringify(await run(kv)));
  Deno.exit(0);
}
