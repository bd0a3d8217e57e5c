import { createTestHoldfast, drain, expectProduced, runOne, TestClock } from 'holdfast/testing';
import { deadLetter, open, retry, type ScopedHandler } from 'holdfast';
import { describe, expect, test } from 'vitest';

interface Mail {
  readonly to: string;
  readonly body?: { readonly text: string; readonly lines?: number };
}

describe('TestClock', () => {
  test('advance() delivers a delayed message at its time and not before', async () => {
    const clock = new TestClock();
    await using holdfast = await open('memory:', { clock });
    const mails = holdfast.channel<Mail>('mails');
    const seen: string[] = [];
    await mails.consume(({ to }) => void seen.push(`${to} at ${clock.monotonicMs()}`));
    await mails.produce({ to: 'late' }, { delay: '1h' });
    await mails.produce({ to: 'early' }, { delay: '10m' });
    await clock.advance('9m');
    expect(seen).toEqual([]);
    await clock.advance('1h');
    expect(seen).toEqual(['early at 600000', 'late at 3600000']);
  });

  test('advance() lets a retry follow its backoff, attempt by attempt', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail>('mails', { attempts: 3, backoff: '1m' });
    const attempts: number[] = [];
    await mails.consume((_mail, { attempt }) => {
      attempts.push(attempt);
      throw new Error('No');
    });
    const { id } = await mails.produce({ to: 'Ada' });
    await kit.clock.advance(0);
    expect(attempts).toEqual([1]);
    await kit.clock.advance('10m');
    expect(attempts).toEqual([1, 2, 3]);
    expect((await mails.get(id))?.state).toBe('dead');
  });

  test('timers fire in the order of their times, and a cancelled one does not', async () => {
    const clock = new TestClock();
    const fired: string[] = [];
    clock.timer(20, () => fired.push('b'));
    const cancel = clock.timer(15, () => fired.push('never'));
    clock.timer(10, () => {
      fired.push('a');
      cancel();
      clock.timer(5, () => fired.push('between'));
    });
    await clock.advance(20);
    expect(fired).toEqual(['a', 'between', 'b']);
  });

  test('set() moves the wall clock alone', () => {
    const clock = new TestClock({ startAt: new Date('2030-06-01T00:00:00Z') });
    clock.set(new Date('2031-01-01T00:00:00Z'));
    expect(clock.now.toISOString()).toBe('2031-01-01T00:00:00.000Z');
    expect(clock.monotonicMs()).toBe(0);
  });

  test('advance() refuses what is no duration', async () => {
    await expect(new TestClock().advance('soon' as '1s')).rejects.toThrow(TypeError);
  });
});

describe('drain()', () => {
  test('resolves when everything that was ready is handled, follow-ups too', async () => {
    await using kit = await createTestHoldfast();
    const first = kit.holdfast.channel<Mail>('first');
    const second = kit.holdfast.channel<Mail>('second');
    const seen: string[] = [];
    await first.consume((mail, { tx }) => tx.produce(second, mail));
    await second.consume(({ to }) => void seen.push(to));
    await first.produceAll(['a', 'b', 'c'].map((to) => ({ to })));
    await drain(kit.holdfast);
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  test('lets time pass for handlers that wait for it', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail>('mails');
    let done = false;
    await mails.consume(async () => {
      await new Promise<void>((resolve) => kit.clock.timer(30_000, resolve));
      done = true;
    });
    await mails.produce({ to: 'Ada' });
    await drain(mails, { clock: kit.clock });
    expect(done).toBe(true);
    expect(kit.clock.monotonicMs()).toBe(30_000);
  });

  test('says which channel has nobody to consume it', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail>('mails');
    await mails.produce({ to: 'Ada' });
    await expect(drain(kit.holdfast)).rejects.toThrow(
      'Cannot drain "mails": 1 ready and 0 running in "mails", and it has no consumer',
    );
  });
});

describe('runOne()', () => {
  test('runs exactly one message and gives its result', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail, number>('mails');
    await mails.produceAll([{ to: 'Ada' }, { to: 'Bob' }]);
    const run = await runOne(mails, ({ to }) => to.length);
    expect(run).toMatchObject({ message: { to: 'Ada' }, attempt: 1, result: 3, state: 'completed' });
    expect(await mails.inspect()).toMatchObject({ ready: 1, leased: 0, completed: 1, consumers: 0 });
  });

  test('gives what a handler threw, and where the message is then', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail>('mails');
    await mails.produce({ to: 'Ada' });
    const error = new Error('No such mailbox');
    const run = await runOne(mails, () => {
      throw error;
    });
    expect(run.error).toBe(error);
    expect(run.state).toBe('delayed');
  });

  test('gives the outcome that a handler returned', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail>('mails');
    await mails.produceAll([{ to: 'Ada' }, { to: 'Bob' }]);
    expect(await runOne(mails, () => deadLetter('Spam'))).toMatchObject({ outcome: 'deadLetter', state: 'dead' });
    expect(await runOne(mails, () => retry({ delay: '1m' }))).toMatchObject({ outcome: 'retry', state: 'delayed' });
  });

  test('runs a handler in its scope, and says what it failed of', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail, string>('mails');
    await mails.produceAll([{ to: 'Ada' }, { to: 'Bob' }, { to: 'Eve' }]);
    const disposed: string[] = [];
    const scope = ({ to }: Mail) => ({ name: `for ${to}`, dispose: () => disposed.push(to) });
    const handler: ScopedHandler<Mail, string, { name: string }> = (_mail, context) => context.scope.name;
    expect(await runOne(mails, handler, { scope })).toMatchObject({ result: 'for Ada', state: 'completed' });
    expect(disposed).toEqual(['Ada']);
    const stuck = new Error('The pool is gone');
    const fail = (): never => {
      throw stuck;
    };
    expect(await runOne(mails, handler, { scope: fail })).toMatchObject({ error: stuck, state: 'delayed' });
    const unclosed = await runOne(mails, handler, { scope: () => ({ name: 'x', dispose: fail }) });
    expect(unclosed).toMatchObject({ error: stuck, result: undefined, state: 'delayed' });
    await expect(runOne(mails, handler, { scopes: scope } as never)).rejects.toThrow(
      '"scopes" as an option of "runOne"',
    );
  });

  test('says why there is nothing to run', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail>('mails');
    await mails.produce({ to: 'Ada' }, { delay: '1m' });
    await expect(runOne(mails, () => {})).rejects.toThrow(
      'Cannot run a message of "mails": none is ready, 1 are delayed',
    );
  });
});

describe('expectProduced()', () => {
  test('finds a message by some of its fields, by a function, and by its whole content', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail>('mails');
    await mails.produce({ to: 'Ada', body: { text: 'Hello', lines: 3 } });
    expect((await expectProduced(mails, { to: 'Ada' })).state).toBe('ready');
    await expectProduced(mails, { body: { text: 'Hello' } });
    await expectProduced(mails, ({ body }) => body?.lines === 3);
  });

  test('lists what is there when nothing matches', async () => {
    await using kit = await createTestHoldfast();
    const mails = kit.holdfast.channel<Mail>('mails');
    await mails.produce({ to: 'Ada' });
    await mails.produce({ to: 'Bob' }, { delay: '1m' });
    await expect(expectProduced(mails, { to: 'Eve' })).rejects.toThrow(
      `No message in "mails" matches { to: 'Eve' }\nIt holds:\n  ready      { to: 'Ada' }\n  delayed    { to: 'Bob' }`,
    );
  });
});
