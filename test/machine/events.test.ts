import { expect, test } from 'vitest';
import type { EventPage, EventPosition } from '#holdfast/model/command.js';
import { NOTHING_COLD } from '#holdfast/machine/machine.js';
import { type MachineClient, MachineRun } from '../helpers/machine-run.ts';

/** Messages that were produced one by one, each with a record of the journal of its own. */
function produced(run: MachineRun, client: MachineClient, ref: number, count: number): void {
  for (let i = 0; i < count; i++) {
    client.produce(ref);
    run.flush();
  }
}

function read(after: EventPosition, limit: number, channel?: string) {
  return { kind: 'inspect', what: 'events', after, channel, limit } as const;
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
