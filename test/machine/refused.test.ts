import { describe, expect, test } from 'vitest';
import { messageIdText } from '#holdfast/model/message-id.js';
import { blockOf, type Delivered, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { messageOf, viewOf } from '../helpers/machine-views.ts';

function start(): { run: MachineRun; client: MachineClient; ref: number } {
  const run = new MachineRun();
  const client = run.client('client');
  return { run, client, ref: client.declare('mail', { maxBacklog: 1 }) };
}

describe('a message that is refused for a full backlog', () => {
  test('is not found under its id, neither at once nor after a reload', () => {
    const { run, client, ref } = start();
    const [stored, refused] = client.produceSome(ref, [{}, {}]);
    expect(messageOf(client, stored as string)).toMatchObject({ state: 'ready' });
    expect(messageOf(client, refused as string)).toBeNull();
    run.reload();
    expect(messageOf(client, refused as string)).toBeNull();
  });

  test('is found where it was stored when it comes again under its id, and not where it was refused', () => {
    const { run, client, ref } = start();
    const ids = [run.newId(), run.newId()];
    const produce = (some: readonly Uint8Array[], value: string): unknown =>
      client.ask({ kind: 'produce', ref, atomic: false, blocks: [blockOf(some, [], value)] });
    produce(ids, 'first');
    client.window(1, ref, 1);
    client.ack(client.take()[0] as Delivered);
    client.window(1, ref, 0);
    expect(produce(ids.slice(1), 'again')).toEqual({ kind: 'produced', exceptions: [] });
    run.reload();
    const [, id] = ids.map((each) => messageIdText(each));
    expect(messageOf(client, id as string)).toMatchObject({ state: 'ready' });
    expect(viewOf(client, 'mail')).toMatchObject({ ready: 1, completed: 1, totals: { produced: 2 } });
  });
});
