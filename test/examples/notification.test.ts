import { readFile } from 'node:fs/promises';
import { type Consumer, type Holdfast, open } from 'holdfast';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { compile, type Compiled } from '../helpers/compile.ts';
import { newFolder } from '../helpers/instances.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { talking } from '../network/processes.ts';

interface Order {
  readonly id: number;
  readonly mail: string;
}

/** What the example gives to others. */
interface Example {
  placeOrder(hf: Holdfast, order: Order): Promise<void>;
  cancelOrder(hf: Holdfast, id: number): Promise<void>;
  sendSurveys(hf: Holdfast, send: (order: Order, id: string) => void): Promise<Consumer>;
}

const HOUR_MS = 3_600_000;
const ORDER: Order = { id: 17, mail: 'ann@example.org' };

let compiled: Compiled;
let example: Example;

beforeAll(async () => {
  const code = await readFile(new URL('../../examples/notification/notification.ts', import.meta.url), 'utf8');
  compiled = await compile({ notification: code });
  example = (await import(compiled.urlOf('notification'))) as Example;
}, 120_000);

afterAll(() => compiled.delete());

/** A run of the program: the time at which it starts, and what it sends. */
async function start(folder: string, wallMs: number): Promise<{ hf: Holdfast; clock: ManualClock; sent: Order[] }> {
  const clock = new ManualClock(wallMs);
  const hf = await open(`file:${folder}`, { clock, thread: false });
  onTestFinished(() => hf.close());
  const sent: Order[] = [];
  await example.sendSurveys(hf, (order) => sent.push(order));
  return { hf, clock, sent };
}

const BEGIN = Date.UTC(2030, 0, 1);

test('the notification example compiles under strict options', () => {
  expect(compiled.complaintsOf('notification')).toEqual([]);
});

test('the notification example sends a survey 24 hours later, across restarts, and not before', async () => {
  const folder = newFolder();
  const first = await start(folder, BEGIN);
  await example.placeOrder(first.hf, ORDER);
  await example.placeOrder(first.hf, ORDER);
  await first.hf.close();

  const second = await start(folder, BEGIN + 12 * HOUR_MS);
  await second.hf.close();
  const third = await start(folder, BEGIN + 24 * HOUR_MS - 1_000);
  await third.clock.advance(999);
  expect([...first.sent, ...second.sent, ...third.sent]).toEqual([]);
  await third.clock.advance(1);
  expect(third.sent).toEqual([ORDER]);
  await third.hf.close();

  const fourth = await start(folder, BEGIN + 100 * HOUR_MS);
  await fourth.clock.advance(1_000);
  expect(fourth.sent).toEqual([]);
});

test('the notification example sends what fell due while nothing ran, and asks nobody about an order taken back', async () => {
  const folder = newFolder();
  const first = await start(folder, BEGIN);
  await example.placeOrder(first.hf, ORDER);
  await example.placeOrder(first.hf, { ...ORDER, id: 18 });
  await example.cancelOrder(first.hf, 17);
  await first.hf.close();
  const second = await start(folder, BEGIN + 48 * HOUR_MS);
  await second.clock.advance(1_000);
  expect(second.sent).toEqual([{ ...ORDER, id: 18 }]);
});

test('the notification example runs as a program', async () => {
  const env = { HOLDFAST_URL: `file:${newFolder()}` };
  const run = (...args: string[]): ReturnType<typeof talking> =>
    talking([compiled.pathOf('notification'), ...args], env);
  const ordering = run('order', '17', ORDER.mail);
  expect(await ordering.ended).toEqual({ code: 0, signal: null, errors: '' });
  expect(ordering.said).toEqual([{ text: 'Order 17 is taken; ann@example.org will be asked about it in 24 hours' }]);
  const sending = run();
  await sending.says(({ text }) => text === 'Sending what is due');
  const cancelling = run('cancel', '17');
  expect(await cancelling.ended).toEqual({ code: 0, signal: null, errors: '' });
  expect(await sending.end('SIGINT')).toEqual({ code: 0, signal: null, errors: '' });
});
