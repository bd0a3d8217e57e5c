/**
 * The canary: a well-behaved client of the server, `canary.js URL`. It produces and consumes on a channel of its own until
 * its parent tells it to stop, and then says what it has been through.
 */
import { open } from 'holdfast';

export interface CanaryReport {
  readonly produced: number;
  readonly lost: number;
  readonly doubled: number;
  /** From the call of `produce` to the start of the handler, in milliseconds. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** What went wrong, or was logged. */
  readonly complaints: readonly string[];
}

/** Nothing that the others say has this name in it. */
const CHANNEL = 'a canary in the mine';

const PAUSE_MS = 20;

/** What has not come by then, after the last was produced, is lost. */
const LAST_MS = 10_000;

const complaints: string[] = [];
const complain = (error: unknown): void => void complaints.push(error instanceof Error ? error.message : String(error));

const producedAt: number[] = [];
const received: number[] = [];
const latencies: number[] = [];
let missing = 0;
let wakeUp = (): void => {};

const hf = await open(process.argv[2] ?? '', { log: ({ message }) => complain(message) });
const channel = hf.channel<number>(CHANNEL);
const consumer = await channel.consume(
  (number, { tx }) => {
    tx.sum([CHANNEL], 1n);
    if (received[number] === undefined) {
      missing -= 1;
      latencies.push(performance.now() - (producedAt[number] as number));
    }
    received[number] = (received[number] ?? 0) + 1;
    wakeUp();
  },
  { onError: complain },
);
consumer.stopped.catch(complain);

let isOver = false;
const told = new Promise<void>((done) => process.once('message', () => done()));
void told.then(() => (isOver = true));
process.send?.('ready');

while (!isOver) {
  const number = producedAt.length;
  missing += 1;
  producedAt.push(performance.now());
  await channel.produce(number).catch(complain);
  await new Promise((done) => setTimeout(done, PAUSE_MS));
}

const late = setTimeout(() => {
  isLate = true;
  wakeUp();
}, LAST_MS);
let isLate = false;
while (missing > 0 && !isLate) await new Promise<void>((done) => (wakeUp = done));
clearTimeout(late);

await consumer.drain().catch(complain);
const counted = await hf.transact(
  async (tx) => (await tx.get<{ readonly value: bigint }>([CHANNEL])).value?.value ?? 0n,
);
if (counted !== BigInt(producedAt.length - missing)) {
  complain(`${counted} messages are counted, and ${producedAt.length - missing} came`);
}

latencies.sort((a, b) => a - b);
const at = (share: number): number =>
  latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? NaN;
const report: CanaryReport = {
  produced: producedAt.length,
  lost: missing,
  doubled: received.filter((times) => times > 1).length,
  latencyMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
  complaints,
};
process.send?.(report, () => process.disconnect());
await hf.close();
