import { describe, expect, test } from 'vitest';
import { grantOf } from '#holdfast/model/scopes.js';
import { failureOf, MachineRun } from '../helpers/machine-run.ts';
import { messageOf } from '../helpers/machine-views.ts';

function start(): { run: MachineRun; wanted: () => string[]; watch: () => void; produce: () => string } {
  const run = new MachineRun();
  const watcher = run.client('watcher');
  const producer = run.client('producer');
  const ref = producer.declare('mail');
  return {
    run,
    wanted: () =>
      run.notices.splice(0).map(({ session, notice }) => {
        return `${session} ${notice.kind} ${'channel' in notice ? notice.channel : ''}`;
      }),
    watch: () => watcher.ask({ kind: 'watch', channel: 'mail' }),
    produce: () => producer.produce(ref),
  };
}

const WANTED = 'watcher wanted mail';

describe('watch', () => {
  test('is told once when a message comes and nobody is there, and again after watching again', () => {
    const { wanted, watch, produce } = start();
    watch();
    expect(wanted()).toEqual([]);
    produce();
    produce();
    expect(wanted()).toEqual([WANTED]);
    watch();
    expect(wanted()).toEqual([WANTED]);
  });

  test('is told of no message that a consumer takes, and of the first for which none has room', () => {
    const { run, wanted, watch, produce } = start();
    const consumer = run.client('consumer');
    consumer.window(1, consumer.declare('mail'), 1);
    watch();
    produce();
    expect(wanted()).toEqual([]);
    produce();
    expect(wanted()).toEqual([WANTED]);
  });

  test('is told when a process dies and leaves its message to nobody', () => {
    const { run, wanted, watch, produce } = start();
    const consumer = run.client('consumer', 'another host');
    consumer.window(1, consumer.declare('mail'), 1);
    watch();
    produce();
    consumer.started(consumer.take());
    expect(wanted()).toEqual([]);
    consumer.die();
    expect(wanted()).toEqual([WANTED]);
  });

  test('is told of nothing while the channel is paused, and of what waits when it goes on', () => {
    const { run, wanted, watch, produce } = start();
    const manager = run.client('manager');
    manager.ask({ kind: 'control', channel: 'mail', action: 'pause', settings: undefined });
    watch();
    produce();
    expect(wanted()).toEqual([]);
    manager.ask({ kind: 'control', channel: 'mail', action: 'resume', settings: undefined });
    expect(wanted()).toEqual([WANTED]);
  });

  test('is told when a delayed message becomes due', () => {
    const { run, wanted, watch } = start();
    const producer = run.client('another producer');
    producer.produce(producer.declare('mail'), { delayMs: 5_000 });
    watch();
    expect(wanted()).toEqual([]);
    run.advance(5_000);
    expect(wanted()).toEqual([WANTED]);
  });

  test.each([
    ['read', 'done'],
    ['consume', 'done'],
    ['produce', 'refused'],
  ])('by whoever may only %s is %s', (right, kind) => {
    const run = new MachineRun();
    const grant = grantOf([`channel:mail:${right}`]);
    const watcher = run.client('watcher', run.host, { accessToken: 'cccccccccccc', grant });
    expect(watcher.ask({ kind: 'watch', channel: 'mail' })).toMatchObject({ kind });
  });

  test('makes a channel that is new', () => {
    const run = new MachineRun();
    const watcher = run.client('watcher');
    expect(watcher.ask({ kind: 'watch', channel: 'new' })).toEqual({ kind: 'done' });
    expect(watcher.ask({ kind: 'inspect', what: 'channels' })).toEqual({ kind: 'value', value: ['new'] });
  });
});

describe('settle() with died', () => {
  test('counts a death, not an attempt, and leaves the others of the session alone', () => {
    const run = new MachineRun();
    const client = run.client('client');
    const ref = client.declare('mail', { maxDeaths: 2 });
    client.window(1, ref, 10);
    const [killer, other] = [client.produce(ref), client.produce(ref)];
    const [first] = client.take();
    const died = { kind: 'died', failure: { ...failureOf('out of memory'), name: 'ProcessDied' } } as const;
    client.settle(first as never, died);
    expect(messageOf(client, killer)).toMatchObject({ attempts: 0, deaths: 1 });
    // It comes again at once, beside what the session holds: in its isolate it can take nobody along.
    const again = client.take();
    expect(again).toMatchObject([{ id: killer, attempt: 2, redelivered: true }]);
    client.settle(again[0] as never, died);
    expect(messageOf(client, killer)).toMatchObject({
      state: 'dead',
      attempts: 0,
      deaths: 2,
      failure: { name: 'ProcessDied', message: 'out of memory' },
    });
    expect(messageOf(client, other)).toMatchObject({ state: 'leased', deaths: 0 });
  });
});
