import { describe, expect, test } from 'vitest';
import { decode, encode } from '#holdfast/codec/bson.js';
import { KIND } from '#holdfast/machine/layout.js';
import type { Manage, Reply } from '#holdfast/model/command.js';
import type { MessageView } from '#holdfast/model/views.js';
import type { Update } from '#holdfast/model/life.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import type { Policy } from '#holdfast/model/policy.js';
import { dedupe, type Delivered, failureOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { listOf, messageOf, viewOf } from '../helpers/machine-views.ts';

function start(policy: Partial<Policy> = {}): { run: MachineRun; client: MachineClient; ref: number } {
  const run = new MachineRun();
  const client = run.client('client');
  return { run, client, ref: client.declare('mail', policy) };
}

function manage(client: MachineClient, id: string, action: Manage['action'], rest: Partial<Manage> = {}): Reply {
  return client.ask({ kind: 'manage', id: parseMessageId(id), action, ...rest });
}

function update(
  client: MachineClient,
  id: string,
  { message, ...rest }: Partial<Update> & { message?: unknown },
): Reply {
  const payload = message === undefined ? undefined : { codec: 1, bytes: encode(message) };
  return client.ask({ kind: 'update', id: parseMessageId(id), payload, ...rest });
}

/** The message that a consumer would get. */
function shown(client: MachineClient, id: string): MessageView {
  const view = messageOf(client, id);
  if (view === null) throw new Error(`Message ${id} is gone`);
  return view;
}

function payloadOf(client: MachineClient, id: string): unknown {
  return decode(shown(client, id).payload);
}

const WRONG_STATE = { kind: 'refused', code: 'WRONG_STATE' };
const DONE = { kind: 'done' };

describe('retry', () => {
  for (const how of ['completed', 'dead', 'cancelled'] as const) {
    test(`brings a ${how} message back, also behind a restart, with its history`, () => {
      const { run, client, ref } = start({ maxAttempts: 1 });
      const id = client.produce(ref);
      if (how === 'cancelled') manage(client, id, 'cancel');
      else {
        client.window(1, ref, 1);
        const delivered = client.take()[0] as Delivered;
        if (how === 'completed') client.settle(delivered, { kind: 'ack', result: encode('old') });
        else client.nack(delivered);
        client.window(1, ref, 0);
      }
      expect(shown(client, id).state).toBe(how);
      run.reload();
      expect(manage(client, id, 'retry')).toEqual(DONE);
      run.reload();
      const view = shown(client, id);
      expect(view).toMatchObject({ state: 'ready', attempts: 0, result: undefined });
      const last = { completed: 'acked', dead: 'failed', cancelled: 'cancelled' }[how];
      expect(view.history.map(({ what }) => what).slice(-2)).toEqual([last, 'retried']);
      expect(viewOf(client, 'mail')).toMatchObject({ ready: 1, completed: 0, dead: 0, cancelled: 0 });
      client.window(2, ref, 1);
      client.settle(client.take()[0] as Delivered, { kind: 'ack', result: encode('new') });
      run.reload();
      expect(decode(shown(client, id).result as Uint8Array)).toBe('new');
    });
  }

  test('with attempts: keep counts on', () => {
    const { client, ref } = start({ maxAttempts: 2, backoff: { kind: 'fixed', delayMs: 0, jitter: 0 } });
    client.window(1, ref, 1);
    const id = client.produce(ref);
    client.nack(client.take()[0] as Delivered);
    client.nack(client.take()[0] as Delivered);
    expect(shown(client, id)).toMatchObject({ state: 'dead', attempts: 2 });
    manage(client, id, 'retry', { attempts: 'keep' });
    const [again] = client.take();
    expect(again).toMatchObject({ id, attempt: 3 });
    client.nack(again as Delivered);
    expect(shown(client, id)).toMatchObject({ state: 'dead', attempts: 3 });
    manage(client, id, 'retry');
    expect(client.take()[0]).toMatchObject({ id, attempt: 1 });
  });

  test('whoever waits for the result waits for the new one', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 1);
    const id = client.produce(ref);
    client.settle(client.take()[0] as Delivered, { kind: 'ack', result: encode('old') });
    manage(client, id, 'retry');
    client.note({ kind: 'await', id: parseMessageId(id), stop: false });
    run.run();
    expect(run.notices).toEqual([]);
    const result = encode('new');
    client.settle(client.take()[0] as Delivered, { kind: 'ack', result });
    run.run();
    expect(run.notices).toMatchObject([{ notice: { kind: 'ended', state: 'completed', result } }]);
  });

  test('refuses what has not ended', () => {
    const { client, ref } = start();
    expect(manage(client, client.produce(ref), 'retry')).toMatchObject(WRONG_STATE);
  });
});

describe('remove', () => {
  test('deletes a message that waits, and one that has ended, for good', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 1);
    const [first, second, third] = client.produceSome(ref, [{}, {}, { delayMs: 60_000 }, {}]) as [
      string,
      string,
      string,
    ];
    client.ack(client.take()[0] as Delivered);
    expect(manage(client, first, 'remove')).toEqual(DONE);
    expect(manage(client, second, 'remove')).toMatchObject(WRONG_STATE);
    expect(manage(client, third, 'remove')).toEqual(DONE);
    run.reload();
    expect(messageOf(client, first)).toBeNull();
    expect(messageOf(client, third)).toBeNull();
    expect(manage(client, first, 'remove')).toMatchObject({ code: 'NOT_FOUND' });
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 0, delayed: 0, totals: { completed: 1, purged: 1 } });
  });

  test('leaves no record behind when all of a pack are gone', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 2);
    const ids = client.produceSome(ref, [{}, {}]);
    for (const delivered of client.take()) {
      client.ask({ kind: 'annotate', ...keyOf(delivered), progress: encode(1), line: undefined });
      client.ack(delivered);
    }
    for (const id of ids) manage(client, id, 'remove');
    run.run();
    const kinds = new Set(run.kinds);
    for (const kind of [KIND.pack, KIND.ids, KIND.ended, KIND.notes, KIND.live]) expect(kinds).not.toContain(kind);
  });

  test('gives the dedupe key free, in a window of time too', () => {
    const { client, ref } = start({ dedupe: { windowMs: 60_000, mode: 'reject' } });
    const id = client.produce(ref, dedupe('one'));
    expect(client.tryProduce(ref, dedupe('one'))).toMatchObject({ exceptions: [{ what: 'deduplicated' }] });
    manage(client, id, 'remove');
    expect(client.tryProduce(ref, dedupe('one'))).toMatchObject({ exceptions: [] });
  });

  test('tells whoever waits for the message that it is gone', () => {
    const { run, client, ref } = start();
    const id = client.produce(ref);
    client.note({ kind: 'await', id: parseMessageId(id), stop: false });
    manage(client, id, 'remove');
    run.run();
    expect(run.notices).toMatchObject([{ notice: { kind: 'ended', state: undefined } }]);
  });
});

describe('update', () => {
  test('gives a message another payload, which is delivered, shown, kept, and gone with it', () => {
    const { run, client, ref } = start();
    const [before, id, behind] = client.produceSome(ref, [{}, { name: 'letter' }, {}], 'old') as [
      string,
      string,
      string,
    ];
    expect(update(client, id, { message: 'new' })).toEqual(DONE);
    expect(payloadOf(client, id)).toBe('new');
    run.reload();
    expect(update(client, id, { message: 'newer' })).toEqual(DONE);
    expect([before, id, behind].map((one) => payloadOf(client, one))).toEqual(['old', 'newer', 'old']);
    expect(shown(client, id)).toMatchObject({ name: 'letter', state: 'ready' });
    run.reload();
    client.window(1, ref, 3);
    const delivered = client.take();
    expect(delivered.map(({ id: one }) => one)).toEqual([before, id, behind]);
    for (const one of delivered) client.ack(one);
    run.reload();
    expect(payloadOf(client, id)).toBe('newer');
    for (const one of [before, id, behind]) manage(client, one, 'remove');
    run.run();
    expect(run.kinds).not.toContain(KIND.pack);
  });

  test('a payload that was replaced goes when its pack is next written smaller', () => {
    const { run, client, ref } = start();
    const [id, other] = client.produceSome(ref, [{}, {}], 'old'.repeat(10_000)) as [string, string];
    update(client, id, { message: 'new' });
    const bytes = (): number => run.disk.entries.get(run.machine.packKey(packOf(run)))?.length ?? 0;
    expect(bytes()).toBeGreaterThan(60_000);
    run.advance(60_000);
    expect(bytes()).toBeLessThan(31_000);
    expect([id, other].map((one) => payloadOf(client, one))).toEqual(['new', 'old'.repeat(10_000)]);
  });

  test('changes the priority: behind those that have it, or with lifo before them', () => {
    const { run, client, ref } = start();
    const [a, b, c, d] = client.produceSome(ref, [{}, {}, { priority: -5 }, {}]) as [string, string, string, string];
    update(client, a, { priority: -5 });
    update(client, d, { lifo: true });
    run.reload();
    expect(listOf(client, 'mail', 'ready').map(({ id }) => id)).toEqual([c, a, d, b]);
    expect(shown(client, a)).toMatchObject({ priority: -5 });
    update(client, b, { priority: -5, lifo: true });
    client.window(1, ref, 4);
    expect(client.takeIds()).toEqual([b, c, a, d]);
  });

  test('changes the time: of a ready message, of a delayed one, and back', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 1);
    const [first, id] = client.produceSome(ref, [{}, { delayMs: 60_000 }]) as [string, string];
    client.ack(client.take()[0] as Delivered);
    expect(shown(client, first).state).toBe('completed');
    update(client, id, { delayMs: 10_000, priority: 3 });
    run.reload();
    expect(shown(client, id)).toMatchObject({ state: 'delayed', dueAt: run.now + 10_000, priority: 3 });
    update(client, id, { dueAt: run.wall + 5_000 });
    run.advance(4_999);
    expect(client.takeIds()).toEqual([]);
    run.advance(1);
    expect(client.takeIds()).toEqual([id]);
    const other = client.produce(ref);
    update(client, other, { delayMs: 1_000 });
    expect(shown(client, other).state).toBe('delayed');
    // Not even for the rest of a millisecond.
    run.advance(0.25);
    update(client, other, { delayMs: 0 });
    expect(shown(client, other).state).toBe('ready');
  });

  test('changes the time of a message that waits behind another, for when its turn comes', () => {
    const { run, client, ref } = start({ dedupe: { windowMs: 0, mode: 'keepLast' } });
    client.window(1, ref, 1);
    client.produce(ref, dedupe('one'));
    const id = client.produce(ref, dedupe('one'));
    update(client, id, { delayMs: 10_000, message: 'later' });
    run.reload();
    expect(shown(client, id)).toMatchObject({ state: 'waiting', dueAt: run.now + 10_000 });
    client.ack(client.take()[0] as Delivered);
    expect(shown(client, id)).toMatchObject({ state: 'delayed' });
    run.advance(10_000);
    expect(client.takeIds()).toEqual([id]);
    expect(payloadOf(client, id)).toBe('later');
  });

  test('is in the history, with what was changed', () => {
    const { client, ref } = start();
    const id = client.produce(ref);
    update(client, id, { message: 'new', priority: 2, delayMs: 5_000 });
    expect(shown(client, id).history.at(-1)).toMatchObject({
      what: 'updated',
      note: 'message, delay 5000 ms, priority 2',
    });
  });

  test('is refused once a consumer has the message, or it has ended', () => {
    const { client, ref } = start();
    client.window(1, ref, 1);
    const id = client.produce(ref);
    const [delivered] = client.take();
    expect(update(client, id, { message: 'new' })).toMatchObject(WRONG_STATE);
    client.ack(delivered as Delivered);
    expect(update(client, id, { priority: 1 })).toMatchObject(WRONG_STATE);
    manage(client, id, 'remove');
    expect(update(client, id, { priority: 1 })).toMatchObject({ code: 'NOT_FOUND' });
  });

  test('leaves the dedupe key as it was', () => {
    const { client, ref } = start({ dedupe: { windowMs: 60_000, mode: 'reject' } });
    const id = client.produce(ref, dedupe('one'), 'one');
    update(client, id, { message: 'two' });
    expect(client.tryProduce(ref, dedupe('one'))).toMatchObject({ exceptions: [{ what: 'deduplicated' }] });
    expect(client.tryProduce(ref, dedupe('two'))).toMatchObject({ exceptions: [] });
  });
});

describe('cancel', () => {
  test('keeps who cancelled and why', () => {
    const { run, client, ref } = start();
    const id = client.produce(ref);
    manage(client, id, 'cancel', { reason: 'too expensive' });
    run.reload();
    const view = shown(client, id);
    expect(view).toMatchObject({ state: 'cancelled', failure: { name: 'Cancelled', message: 'too expensive' } });
    expect(view.history.at(-1)).toMatchObject({ what: 'cancelled', note: 'too expensive' });
  });

  /** A message whose handler runs and is told to end within 10 s. */
  function cancelling(policy: Partial<Policy> = {}): ReturnType<typeof start> & { id: string; delivered: Delivered } {
    const started = start(policy);
    const { client, ref } = started;
    client.window(1, ref, 1);
    const id = client.produce(ref);
    const delivered = client.take()[0] as Delivered;
    client.started([delivered]);
    expect(manage(client, id, 'cancel', { reason: 'enough', deadlineMs: 10_000 })).toEqual(DONE);
    return { ...started, id, delivered };
  }

  test('with a deadline tells the client, and lets the handler go on until then', () => {
    const { run, client, id, delivered } = cancelling({ timeoutMs: 60_000 });
    const { seq, token } = delivered;
    expect(run.notices).toMatchObject([
      { notice: { kind: 'cancelling', seq, token, deadlineMs: 10_000, reason: 'enough' } },
    ]);
    run.advance(9_999);
    expect(shown(client, id).state).toBe('leased');
    client.ask({ kind: 'extend', seq, token, forMs: 60_000 });
    run.advance(1);
    expect(run.notices.at(-1)).toMatchObject({ notice: { kind: 'revoked', reason: 'cancelled' } });
    expect(shown(client, id)).toMatchObject({ state: 'cancelled', failure: { name: 'Cancelled', message: 'enough' } });
    expect(client.ack(delivered)).toMatchObject({ lost: [0] });
  });

  test('an ack before the deadline completes the message', () => {
    const { client, id, delivered, run } = cancelling();
    expect(client.settle(delivered, { kind: 'ack', result: encode('done') })).toMatchObject({ lost: [] });
    run.reload();
    expect(shown(client, id)).toMatchObject({ state: 'completed', failure: undefined });
  });

  for (const kind of ['nack', 'release', 'snooze', 'fail', 'died', 'undecodable'] as const) {
    test(`a ${kind} before the deadline ends it as cancelled, and it does not come again`, () => {
      const { client, id, delivered, run } = cancelling({ maxAttempts: 5 });
      client.settle(delivered, { kind, failure: failureOf('stopped'), delayMs: 0 } as never);
      run.advance(600_000);
      expect(client.takeIds()).toEqual([]);
      expect(shown(client, id)).toMatchObject({ state: 'cancelled', failure: { message: 'enough' } });
    });
  }

  test('also when the process dies, and when the broker does', () => {
    const { client, id, run } = cancelling();
    const other = run.client('other', 'elsewhere');
    run.reload('elsewhere');
    expect(shown(other, id)).toMatchObject({ state: 'cancelled', failure: { message: 'enough' } });
    expect(client.name).toBe('client');
  });

  test('the deadline outlives a restart, and a client that comes back hears of it again', () => {
    const { client, id, run, delivered } = cancelling();
    run.advance(4_000);
    run.reload();
    run.notices.length = 0;
    client.note({ kind: 'holding', leases: [keyOf(delivered)] });
    expect(run.notices).toMatchObject([{ notice: { kind: 'cancelling', deadlineMs: 6_000 } }]);
    run.advance(6_000);
    expect(shown(client, id).state).toBe('cancelled');
  });

  test('a second one without a deadline ends it at once', () => {
    const { client, id, delivered } = cancelling();
    manage(client, id, 'cancel');
    expect(shown(client, id).state).toBe('cancelled');
    expect(client.ack(delivered)).toMatchObject({ lost: [0] });
  });

  test('with a deadline ends at once what no consumer has', () => {
    const { client, ref } = start();
    const id = client.produce(ref);
    manage(client, id, 'cancel', { deadlineMs: 10_000 });
    expect(shown(client, id).state).toBe('cancelled');
  });
});

function keyOf({ seq, token }: Delivered): { seq: number; token: number } {
  return { seq, token };
}

/** The number of the only pack of messages that were produced. */
function packOf(run: MachineRun): number {
  const delivered = run.writes.find(
    (write) => write.kind === 'put' && write.key.length > 0 && write.key[5] === KIND.pack,
  );
  if (delivered?.kind !== 'put') throw new Error('There is no pack');
  return new DataView(delivered.key.buffer, delivered.key.byteOffset + 10).getUint32(0);
}
