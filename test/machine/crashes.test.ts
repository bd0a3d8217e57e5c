import { describe, expect, test } from 'vitest';
import type { Delivered, MachineClient } from '../helpers/machine-run.ts';
import { MachineRun } from '../helpers/machine-run.ts';
import { messageOf, viewOf } from '../helpers/machine-views.ts';

/** A process with room for many messages, and the messages it holds. */
function start(): { run: MachineRun; client: MachineClient; ref: number; ids: string[] } {
  const run = new MachineRun();
  const client = run.client('client');
  const ref = client.declare('mail', { maxDeaths: 2 });
  client.window(1, ref, 10);
  const ids = [client.produce(ref), client.produce(ref), client.produce(ref)];
  client.started(client.take());
  return { run, client, ref, ids };
}

/** The process dies together with its broker; another one starts. */
function crash(run: MachineRun, name: string, room: number): MachineClient {
  run.reload(`host of ${name}`);
  const client = run.client(name);
  client.window(1, client.declare('mail', { maxDeaths: 2 }), room);
  return client;
}

describe('after a crash of the process with its broker', () => {
  test('each message that was held is delivered alone, the first one first, and nothing is charged', () => {
    const { run, ids } = start();
    const client = crash(run, 'second', 10);
    for (const id of ids) {
      const taken = client.take();
      expect(taken.map((delivered) => delivered.id)).toEqual([id]);
      expect(messageOf(client, id)).toMatchObject({ state: 'leased', deaths: 0, attempts: 0 });
      for (const delivered of taken) client.ack(delivered);
    }
    expect(viewOf(client, 'mail')).toMatchObject({ completed: 3 });
  });

  test('nothing else goes to the process while it works on a suspect', () => {
    const { run, ids } = start();
    const client = crash(run, 'second', 10);
    const other = client.declare('other');
    client.window(2, other, 10);
    client.produce(other);
    const taken = client.take();
    expect(taken.map(({ id }) => id)).toEqual([ids[0]]);
    client.ack(taken[0] as never);
    expect(client.takeIds()).toContain(ids[1]);
  });

  test('a message that crashes its process again and again is dead in the end, and the others are done', () => {
    const { run, ids } = start();
    const [killer] = ids;
    let client = crash(run, 'process 0', 10);
    for (let crashes = 1; crashes < 20 && viewOf(client, 'mail').dead === 0; crashes++) {
      for (let taken = client.take(); taken.length > 0; taken = client.take()) {
        client.started(taken);
        if (taken.some(({ id }) => id === killer)) break;
        for (const delivered of taken) client.ack(delivered);
      }
      client = crash(run, `process ${crashes}`, 10);
    }
    for (let taken = client.take(); taken.length > 0; taken = client.take()) for (const each of taken) client.ack(each);
    expect(messageOf(client, killer as string)).toMatchObject({
      state: 'dead',
      deaths: 2,
      failure: { name: 'ProcessDied' },
    });
    for (const id of ids.slice(1)) expect(messageOf(client, id)).toMatchObject({ state: 'completed', deaths: 0 });
  });

  test('a message that was not held is no suspect', () => {
    const { run, client, ref } = start();
    client.window(1, ref, 3);
    const waiting = [client.produce(ref), client.produce(ref)];
    const next = crash(run, 'second', 10);
    for (let i = 0; i < 3; i++) next.ack(next.take()[0] as never);
    expect(next.takeIds()).toEqual(waiting);
  });

  test.each(['is released', 'never reaches its process', 'is held when its client closes'])(
    'a suspect that %s is as suspect as before',
    (how) => {
      const { run, ids } = start();
      const client = crash(run, 'second', 10);
      const [taken] = client.take();
      if (how === 'is released') client.settle(taken as Delivered, { kind: 'release' });
      else if (how === 'never reaches its process') client.note({ kind: 'holding', leases: [] });
      else {
        run.machine.close(client.session, run.context);
        run.forget(client);
      }
      const next = how === 'is held when its client closes' ? run.client('third') : client;
      if (next !== client) next.window(1, next.declare('mail'), 10);
      expect(next.takeIds()).toEqual([ids[0]]);
    },
  );

  test('a broker that had nothing to write is known to its successor', () => {
    const run = new MachineRun();
    const other = run.client('other', 'host of second');
    const ref = other.declare('mail');
    const id = other.produce(ref);
    other.window(1, ref, 1);
    expect(other.takeIds()).toEqual([id]);
    // The other process leads, and dies before anything happens.
    run.reload('host of second');
    run.reload('host of third');
    expect(messageOf(run.client('third'), id)).toMatchObject({ state: 'ready' });
  });

  test('a suspect that is purged or cancelled holds nobody up', () => {
    const { run } = start();
    run.reload('another host');
    const client = run.client('second');
    const ref = client.declare('mail');
    client.ask({ kind: 'control', channel: 'mail', action: 'purge', settings: undefined });
    run.run();
    const ids = [client.produce(ref), client.produce(ref)];
    client.window(1, ref, 10);
    expect(client.takeIds()).toEqual(ids);
  });
});

describe('after the death of a process whose broker lives', () => {
  test('only messages whose handler had started are charged', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail');
    client.window(1, ref, 2);
    const ids = [client.produce(ref), client.produce(ref)];
    client.started(client.take().slice(0, 1));
    client.die();
    const other = run.client('other');
    expect(ids.map((id) => messageOf(other, id)?.deaths)).toEqual([1, 0]);
  });
});

describe('when a process dies before it could say which handler had started', () => {
  test('what it held is delivered alone, uncharged, and what kills its process alone is dead in the end', () => {
    const run = new MachineRun();
    const producer = run.client('producer');
    const ref = producer.declare('mail', { maxDeaths: 2 });
    const ids = [producer.produce(ref), producer.produce(ref), producer.produce(ref)];
    const [, killer] = ids;
    let deaths = 0;
    while (viewOf(producer, 'mail').completed < 2) {
      const client = run.client(`process ${deaths}`, `host ${deaths}`);
      client.window(1, client.declare('mail'), 10);
      for (let taken = client.take(); taken.length > 0; taken = client.take()) {
        if (taken.some(({ id }) => id === killer)) break;
        for (const delivered of taken) client.ack(delivered);
      }
      if (viewOf(producer, 'mail').completed === 2) break;
      client.die();
      deaths += 1;
    }
    // Once among others, and then alone as often as it may.
    expect(deaths).toBe(3);
    expect(messageOf(producer, killer as string)).toMatchObject({ state: 'dead', deaths: 2 });
    for (const id of ids.filter((each) => each !== killer)) {
      expect(messageOf(producer, id)).toMatchObject({ state: 'completed', deaths: 0 });
    }
  });
});
