import { expect, test } from 'vitest';
import type { EventPage, EventPosition } from '#holdfast/model/views.js';
import { NOTHING_COLD } from '#holdfast/machine/machine.js';
import { KIND } from '#holdfast/machine/layout.js';
import { applyWrites } from '#holdfast/store/memory.js';
import { blockOf, type MachineClient, MachineRun } from '../helpers/machine-run.ts';

/** Messages that were produced one by one, each with a record of the journal of its own. */
function produced(run: MachineRun, client: MachineClient, ref: number, count: number): void {
  for (let i = 0; i < count; i++) {
    client.produce(ref);
    run.flush();
  }
}

function read(after: EventPosition, limit: number, channel?: string) {
  const filter = { channel, channels: undefined, kinds: undefined };
  return { kind: 'inspect', what: 'events', after, filter, limit } as const;
}

const BEGINNING: EventPosition = { commit: 1, index: 0 };

test('reading events asks for about as many records as it is to give events', () => {
  const run = new MachineRun();
  const client = run.client('client');
  produced(run, client, client.declare('busy'), 2_000);
  const request = { request: client.lastRequest + 1, command: read(BEGINNING, 100) };
  const need = run.machine.plan(client.session, request, NOTHING_COLD);
  expect(need?.keys.length).toBeGreaterThanOrEqual(100);
  expect(need?.keys.length).toBeLessThan(110);
});

test('reading the events of one channel finds them behind many of another', () => {
  const run = new MachineRun();
  const client = run.client('client');
  const [busy, quiet] = [client.declare('busy'), client.declare('quiet')];
  produced(run, client, busy, 1_000);
  const rare = client.produce(quiet);
  produced(run, client, busy, 1_000);
  const found: (string | undefined)[] = [];
  let after = BEGINNING;
  for (let pages = 1; ; pages++) {
    const reply = client.ask(read(after, 10, 'quiet'));
    if (reply.kind !== 'value') throw new Error('The events were not given');
    const page = reply.value as EventPage;
    found.push(...page.events.map(({ id }) => id));
    after = page.next;
    if (!page.isEnd) continue;
    expect(pages).toBeLessThan(5);
    break;
  }
  expect(found).toEqual([rare]);
});

test('a journal of the release before is read on, entry by entry', () => {
  const run = new MachineRun();
  const client = run.client('client');
  const id = client.produce(client.declare('mail'));
  run.flush();
  const isJournal = ({ key }: { readonly key: Uint8Array }): boolean => key['test\0'.length] === KIND.journal;
  const stored = [...run.disk.entries.items({ from: Uint8Array.of(0), to: Uint8Array.of(0xff) })].filter(isJournal);
  // Its entries of messages without details have the same form in both.
  const older = stored.map(({ key, value }) => ({
    kind: 'put' as const,
    key,
    value: Uint8Array.of(2, ...value.subarray(1)),
  }));
  applyWrites(run.disk, older);
  run.reload();
  const reply = client.ask(read(BEGINNING, 10));
  if (reply.kind !== 'value') throw new Error('The events were not given');
  expect((reply.value as EventPage).events.map((event) => [event.what, event.id])).toEqual([['produced', id]]);
});

test('who waits for some events is told of those only', () => {
  const run = new MachineRun();
  const [client, reader] = [run.client('client'), run.client('reader')];
  const [mail, other] = [client.declare('mail'), client.declare('other')];
  const after = { commit: run.machine.time, index: 0 };
  expect(reader.ask(read(after, 10)).kind).toBe('refused');
  const filter = { channel: undefined, channels: 'm*', kinds: ['produced' as const] };
  reader.ask({ kind: 'inspect', what: 'events', after: undefined, filter, limit: 10 });
  client.produce(other);
  client.ask({ kind: 'control', channel: 'mail', action: 'pause', settings: undefined });
  run.flush();
  expect(run.notices).toEqual([]);
  client.produce(mail);
  run.flush();
  client.produce(mail);
  run.flush();
  expect(run.notices).toEqual([{ session: 'reader', notice: { kind: 'events' } }]);
});

test('a channel that is filled again in the same commit was not drained', () => {
  const run = new MachineRun();
  const client = run.client('client');
  const ref = client.declare('mail');
  client.window(1, ref, 1);
  client.produce(ref);
  const [lease] = client.take();
  if (lease === undefined) throw new Error('Nothing was delivered');
  const block = blockOf([run.newId()], [{}]);
  client.settle(lease, { kind: 'ack', result: undefined }, [{ kind: 'produce', ref, blocks: [block] }]);
  const [next] = client.take();
  client.ack(next as typeof lease);
  const reply = client.ask(read(BEGINNING, 100));
  if (reply.kind !== 'value') throw new Error('The events were not given');
  const whats = (reply.value as EventPage).events.map(({ what }) => what);
  expect(whats).toEqual(['produced', 'claimed', 'produced', 'acked', 'claimed', 'acked', 'drained']);
});
