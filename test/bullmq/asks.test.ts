import { expect, test } from 'vitest';
import { type Answer, Outbox } from '#holdfast/client/outbox.js';
import { type BullAsk, type BullCommand, MAX_BULL_ASKS } from '#holdfast/model/bull.js';
import { HoldfastError } from '#holdfast/model/errors.js';
import { decodeRequests } from '#holdfast/wire/requests.js';

const NOBODY: Answer<unknown> = { resolve: () => {}, reject: () => {} };

function stateOf(id: string, queue: string = 'bull:mail'): BullAsk<'state'> {
  return { queue, method: 'state', args: { id } };
}

/** What the outbox sends by now, each command as the ids that it asks for. */
function sent(outbox: Outbox): string[] {
  const frame = outbox.next();
  if (frame === undefined) return [];
  return decodeRequests(frame).requests.map(({ command }) => {
    if (command.kind !== 'bull') return command.kind;
    const { method, asks } = command as BullCommand<'state'>;
    return `${method} ${asks.map(({ id }) => id).join(' ')}`;
  });
}

test('what is asked of a queue in a row is one command', () => {
  const outbox = new Outbox();
  for (const id of ['1', '2', '3']) outbox.bull(stateOf(id), 100, NOBODY);
  expect(sent(outbox)).toEqual(['state 1 2 3']);
});

test('everything is asked in the order of the calls', () => {
  const outbox = new Outbox();
  outbox.bull(stateOf('1'), 100, NOBODY);
  outbox.bull({ queue: 'bull:mail', method: 'promote', args: { id: '2' } }, 100, NOBODY);
  outbox.bull(stateOf('3'), 100, NOBODY);
  outbox.bull(stateOf('4', 'bull:other'), 100, NOBODY);
  outbox.command({ kind: 'inspect', what: 'channels' }, { resolve: () => {}, reject: () => {} });
  outbox.bull(stateOf('5', 'bull:other'), 100, NOBODY);
  expect(sent(outbox)).toEqual(['state 1', 'promote 2', 'state 3', 'state 4', 'inspect', 'state 5']);
});

test('a command takes no more than it may', () => {
  const outbox = new Outbox();
  for (let i = 0; i <= MAX_BULL_ASKS; i++) outbox.bull(stateOf(String(i)), 100, NOBODY);
  outbox.bull(stateOf('large'), 200 * 1024, NOBODY);
  outbox.bull(stateOf('too'), 100 * 1024, NOBODY);
  const counts = sent(outbox).map((command) => command.split(' ').length - 1);
  expect(counts).toEqual([MAX_BULL_ASKS, 2, 1]);
});

test('many asks go before the tick ends, so that the broker begins with them', () => {
  const outbox = new Outbox();
  let asked = 0;
  while (!outbox.isAmple) outbox.bull(stateOf(String(asked++)), 100, NOBODY);
  expect(asked).toBeLessThan(50);
  outbox.next();
  expect(outbox.isAmple).toBe(false);
});

test('each ask has its own answer, and one that is refused is no hindrance for the others', async () => {
  const outbox = new Outbox();
  const answers = ['1', '2', '3'].map(
    (id) => new Promise((resolve, reject) => outbox.bull(stateOf(id), 100, { resolve, reject })),
  );
  outbox.next();
  const refusals = [{ index: 1, code: 'FORBIDDEN', message: 'Cannot look' } as const];
  outbox.answer(1, { kind: 'bull', values: ['wait', null, 'active'], refusals });
  expect(await Promise.allSettled(answers)).toEqual([
    { status: 'fulfilled', value: 'wait' },
    { status: 'rejected', reason: new HoldfastError('FORBIDDEN', 'Cannot look') },
    { status: 'fulfilled', value: 'active' },
  ]);
});

test('what has no answer yet, as the others were so long, is asked once more', async () => {
  const outbox = new Outbox();
  const answers = ['1', '2', '3'].map(
    (id) => new Promise((resolve, reject) => outbox.bull(stateOf(id), 100, { resolve, reject })),
  );
  outbox.next();
  outbox.answer(1, { kind: 'bull', values: ['wait'], refusals: [] });
  expect(sent(outbox)).toEqual(['state 2 3']);
  outbox.answer(2, { kind: 'bull', values: ['active', 'failed'], refusals: [] });
  expect(await Promise.all(answers)).toEqual(['wait', 'active', 'failed']);
});

test('a refusal of the whole command is one of each ask', async () => {
  const outbox = new Outbox();
  const answers = ['1', '2'].map(
    (id) => new Promise((resolve, reject) => outbox.bull(stateOf(id), 100, { resolve, reject })),
  );
  outbox.next();
  outbox.answer(1, { kind: 'refused', code: 'STORE_FULL', message: 'Cannot add' });
  for (const { status } of await Promise.allSettled(answers)) expect(status).toBe('rejected');
});
