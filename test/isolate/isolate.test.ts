import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { Channel, ChannelOptions, IsolatedConsumeOptions, MessageId } from 'holdfast';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';

interface Job {
  readonly do: string;
  readonly value?: unknown;
  readonly fails?: boolean;
}

interface Echo {
  readonly value: unknown;
  readonly process: number;
  readonly isMainThread: boolean;
  readonly threadId: number;
  readonly handled: number;
}

const MIB = 2 ** 20;

function moduleOf(name: string): URL {
  return new URL(`./modules/${name}.mjs`, import.meta.url);
}

/** Resolves when the message's log has this line. */
async function logged(channel: Channel<Job, Job, unknown>, id: MessageId): Promise<void> {
  while (((await channel.get(id))?.log.length ?? 0) === 0);
}

describe.each(['process', 'thread'] as const)('a handler in a %s', (isolate) => {
  async function start(options: Partial<IsolatedConsumeOptions> & { readonly rules?: ChannelOptions<undefined> } = {}) {
    const { rules = {}, ...rest } = options;
    const hf = await openUntilEnd(`file:${newFolder()}`);
    const jobs = hf.channel<Job>('jobs', rules);
    const consumer = await jobs.consume(moduleOf('work'), { isolate, ...rest });
    return { hf, jobs, consumer };
  }

  test('gets its message as it was, and its result comes back', async () => {
    const { jobs } = await start();
    const value = { list: [1, undefined, 2n ** 70n], map: new Map([[1, new Set(['a'])]]), bytes: Uint8Array.of(1, 2) };
    const echo = (await jobs.request({ do: 'echo', value })) as Echo;
    expect(echo.value).toEqual(value);
    if (isolate === 'process') expect(echo.process).not.toBe(process.pid);
    else expect(echo).toMatchObject({ process: process.pid, isMainThread: false });
    const again = (await jobs.request({ do: 'echo', value })) as Echo;
    expect(again).toMatchObject({ process: echo.process, threadId: echo.threadId, handled: 2 });
  });

  test('adds children, waits for them and gets their results', async () => {
    const hf = await openUntilEnd(`file:${newFolder()}`);
    const jobs = hf.channel<Job>('jobs', { attempts: 1 });
    const thumbs = hf.channel<number, number>('thumbs');
    await thumbs.consume((n) => n * 10);
    await jobs.consume(moduleOf('work'), { isolate, produces: [thumbs] });
    expect(await jobs.request({ do: 'add children' })).toEqual(['first 10', 'second 20']);
    expect((await hf.kv.get(['waited'])).value).toBe(true);
    const { id } = await jobs.produce({ do: 'add children', fails: true });
    await expect(jobs.result(id)).rejects.toMatchObject({ code: 'DEAD' });
    expect((await jobs.get(id))?.failure?.message).toContain('return waitForChildren()');
    expect(await thumbs.inspect()).toMatchObject({ ready: 0, totals: { produced: 2 } });
  });

  test('runs in the scope that its module opens', async () => {
    const hf = await openUntilEnd(`file:${newFolder()}`);
    const jobs = hf.channel<Job>('jobs', { attempts: 1 });
    await jobs.consume(moduleOf('scoped'), { isolate });
    const ids = (
      await jobs.produceAll([
        { do: 'work', value: 5 },
        { do: 'not open' },
        { do: 'not dispose' },
        { do: 'not dispose', fails: true },
      ])
    ).map(({ id }) => id);
    expect(await jobs.result(ids[0] as string)).toBe('scope of 5');
    expect((await jobs.get(ids[0] as string))?.log).toEqual(['handled in the scope of 5', 'disposed of']);
    await jobs.result(ids[3] as string).catch(() => {});
    const failures = await Promise.all(ids.slice(1).map(async (id) => (await jobs.get(id))?.failure));
    expect(failures.map((failure) => [failure?.name, failure?.message])).toEqual([
      ['RangeError', 'no pool'],
      ['RangeError', 'stuck (when its scope was disposed of)'],
      ['TypeError', 'boom (and its scope could not be disposed of: stuck)'],
    ]);
  });

  test('has a context that works', async () => {
    const { jobs } = await start();
    const { id } = await jobs.produce({ do: 'context' });
    const result = (await jobs.result(id)) as object;
    const stored = await jobs.get(id);
    expect(result).toMatchObject({ id, channel: 'jobs', attempt: 1, redelivered: false });
    expect(result).toMatchObject({ producedAt: stored?.producedAt, schedule: undefined });
    expect(stored).toMatchObject({ progress: { half: true }, log: ['a line'] });
  });

  test('knows the tick of a schedule that it works on', async () => {
    const { hf, jobs } = await start();
    await jobs.schedule('often', { every: '1d' }, { do: 'context' });
    const { id } = await hf.schedules.runNow('often');
    const stored = await jobs.get(id);
    expect(await jobs.result(id)).toMatchObject({ schedule: stored?.schedule });
    expect(stored?.schedule).toMatchObject({ key: 'often', manual: true });
  });

  test('produces with its ack, by the name of the channel and by its options', async () => {
    const hf = await openUntilEnd(`file:${newFolder()}`);
    const thumbs = hf.channel<{ of: unknown }>('thumbs', { process: 'exactlyOnce' });
    const jobs = hf.channel<Job>('jobs', { attempts: 1 });
    await jobs.consume(moduleOf('work'), { isolate, produces: [thumbs] });
    await jobs.request({ do: 'produce', value: 'a' });
    await jobs.request({ do: 'produce', value: 'a' });
    await expect(jobs.request({ do: 'produce', value: 'b', fails: true })).rejects.toMatchObject({ code: 'DEAD' });
    expect(await thumbs.list('ready')).toMatchObject([{ message: { of: 'a' }, priority: 3 }]);
    await expect(jobs.request({ do: 'produce elsewhere' })).rejects.toMatchObject({
      cause: { message: 'Cannot produce to "elsewhere" from an isolate: name its channel in "produces"' },
    });
  });

  test('is told when its message is cancelled, has the time that it is given, and is killed then', async () => {
    const { jobs } = await start({ concurrency: 2 });
    const [polite, deaf] = await jobs.produceAll([{ do: 'until stopped' }, { do: 'for ever' }]);
    if (polite === undefined || deaf === undefined) throw new Error('They were not produced');
    for (const { id } of [polite, deaf]) await logged(jobs, id);
    await jobs.cancel(polite.id, { reason: 'enough', deadline: '1m' });
    expect(await jobs.result(polite.id)).toBe('CANCELLED');
    await jobs.cancel(deaf.id, { reason: 'enough', deadline: 100 });
    await expect(jobs.result(deaf.id)).rejects.toMatchObject({ code: 'DEAD', cause: { message: 'enough' } });
    expect(await jobs.get(deaf.id)).toMatchObject({ state: 'cancelled', deaths: 0 });
    const echo = (await jobs.request({ do: 'echo' })) as Echo;
    expect(echo.handled).toBeGreaterThan(0);
  });

  test('throws, asks for a retry and gives up as any other', async () => {
    const { jobs } = await start({ rules: { attempts: 1 } });
    const thrown = { name: 'RangeError', message: 'too large', stack: expect.stringContaining('work.mjs') as string };
    await expect(jobs.request({ do: 'throw' })).rejects.toMatchObject({ code: 'DEAD', cause: thrown });
    await expect(jobs.request({ do: 'give up' })).rejects.toMatchObject({ cause: { message: 'no use' } });
    const { id } = await jobs.produce({ do: 'retry' }, { attempts: 2 });
    expect(await jobs.result(id)).toBe('second time');
    expect(await jobs.get(id)).toMatchObject({ deaths: 0 });
  });

  test('holds its channel or its group back, and no attempt is counted', async () => {
    const { jobs } = await start();
    for (const of of ['channel', 'group'] as const) {
      const { id } = await jobs.produce({ do: 'hold', value: of }, { group: 'a' });
      expect(await jobs.result(id)).toBe(1);
      const stored = await jobs.get(id);
      expect(stored).toMatchObject({ attempts: 1, deaths: 0 });
      expect(stored?.history).toContainEqual(
        expect.objectContaining({ what: 'released', note: 'The handler was told to wait' }),
      );
    }
  });

  test('that dies counts as a death, not as an attempt, and takes no other message along', async () => {
    const { jobs } = await start({ concurrency: 2, rules: { maxDeaths: 2 } });
    const other = await jobs.produce({ do: 'until stopped' });
    const { id } = await jobs.produce({ do: 'exit' });
    const cause = { name: 'ProcessDied', message: `The ${isolate} of the handler ended with exit code 9` };
    await expect(jobs.result(id)).rejects.toMatchObject({ code: 'DEAD', cause });
    expect(await jobs.get(id)).toMatchObject({ attempts: 0, deaths: 2 });
    expect(await jobs.get(other.id)).toMatchObject({ state: 'leased', deaths: 0 });
    expect(await jobs.request({ do: 'echo', value: 'after it' })).toMatchObject({ value: 'after it', handled: 1 });
    await jobs.cancel(other.id);
  });

  test('that takes more heap than it may dies of it', async () => {
    const { jobs } = await start({ memoryBytes: isolate === 'process' ? 96 * MIB : 32 * MIB, rules: { maxDeaths: 1 } });
    await expect(jobs.request({ do: 'fill heap' })).rejects.toMatchObject({ cause: { name: 'ProcessDied' } });
    expect(await jobs.request({ do: 'echo', value: 'after it' })).toMatchObject({ value: 'after it' });
  });

  test('may block its event loop: others go on', async () => {
    const { jobs } = await start({ concurrency: 2 });
    const blocking = jobs.request({ do: 'block for', value: 500 });
    await jobs.request({ do: 'echo', value: 1 });
    expect(await blocking).toBe('done');
  });

  test('hears through its signal that its message was cancelled, and its isolate goes on', async () => {
    const { jobs } = await start();
    const first = (await jobs.request({ do: 'echo' })) as Echo;
    const { id } = await jobs.produce({ do: 'until stopped' });
    await logged(jobs, id);
    await jobs.cancel(id);
    const next = (await jobs.request({ do: 'echo' })) as Echo;
    expect(next).toMatchObject({ process: first.process, threadId: first.threadId, handled: 3 });
  });

  test.each(['for ever', 'block'])('that is cancelled and goes on (%s) is ended, which is no death', async (what) => {
    const { jobs } = await start({ concurrency: 1 });
    const first = (await jobs.request({ do: 'echo' })) as Echo;
    const { id } = await jobs.produce({ do: what });
    await logged(jobs, id);
    await jobs.cancel(id);
    const next = (await jobs.request({ do: 'echo' })) as Echo;
    expect(next.handled).toBe(1);
    expect([next.process, next.threadId]).not.toEqual([first.process, first.threadId]);
    expect(await jobs.get(id)).toMatchObject({ state: 'cancelled', deaths: 0 });
  });

  test('that runs longer than its timeout has failed, also when it blocks', async () => {
    const { jobs } = await start({ rules: { attempts: 1, timeout: 200 } });
    await expect(jobs.request({ do: 'block' })).rejects.toMatchObject({ cause: { name: 'TimeoutError' } });
    expect(await jobs.request({ do: 'echo', value: 1 }, { timeout: false })).toMatchObject({ value: 1 });
  });

  test('ends with its consumer', async () => {
    const { hf, jobs, consumer } = await start();
    const { process: pid } = (await jobs.request({ do: 'echo' })) as Echo;
    const { id } = await jobs.produce({ do: 'for ever' });
    await logged(jobs, id);
    await consumer.close();
    expect(await jobs.get(id)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
    await hf.close();
    if (isolate === 'process') await gone(pid);
  });
});

test('a process that takes more memory than it may, but not for its heap, dies of it', async () => {
  const hf = await openUntilEnd(`file:${newFolder()}`);
  const jobs = hf.channel<Job>('jobs', { maxDeaths: 1 });
  await jobs.consume(moduleOf('work'), { isolate: 'process', memoryBytes: 128 * MIB });
  const cause = { message: `The process of the handler took more than ${128 * MIB} bytes of memory` };
  await expect(jobs.request({ do: 'fill buffers' })).rejects.toMatchObject({ cause });
});

test.each(['crash', 'uncaught'])('a process that dies of itself (%s) is replaced', async (what) => {
  const hf = await openUntilEnd(`file:${newFolder()}`);
  const jobs = hf.channel<Job>('jobs', { maxDeaths: 1 });
  await jobs.consume(moduleOf('work'), { isolate: 'process' });
  await expect(jobs.request({ do: what })).rejects.toMatchObject({ cause: { name: 'ProcessDied' } });
  expect(await jobs.request({ do: 'echo', value: 1 })).toMatchObject({ value: 1 });
});

test.each(['for ever', 'block'])('a process does not outlive the one that has started it (%s)', async (what) => {
  const parent = spawn(process.execPath, [fileURLToPath(moduleOf('parent')), newFolder(), what], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [pid] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  parent.kill('SIGKILL');
  await gone(Number(pid));
});

describe('consume() with a module', () => {
  test.each([
    ['a module that is not there', 'nowhere', { isolate: 'process' }, /cannot be loaded: Cannot find module/],
    [
      'one without a default',
      'no-default',
      { isolate: 'thread' },
      /cannot be loaded: Its default export is not a func/,
    ],
    ['one whose scope is none', 'no-scope', { isolate: 'thread' }, /cannot be loaded: Cannot use number as "scope"/],
    [
      'a scope from here',
      'work',
      { isolate: 'thread', scope: () => {} },
      /export it from the module, by the name "scope"/,
    ],
    ['no isolate', 'work', {}, /say isolate: 'process' or isolate: 'thread'/],
    ['too little memory', 'work', { isolate: 'process', memoryBytes: 1_000 }, /"memoryBytes": it must be a whole/],
    ['an unknown option', 'work', { isolate: 'thread', threads: 2 }, /"threads" as an option of "consume"/],
  ])('refuses %s', async (_what, name, options, message) => {
    const hf = await openUntilEnd('memory:');
    const consuming = hf.channel<Job>('jobs').consume(moduleOf(name), options as IsolatedConsumeOptions);
    await expect(consuming).rejects.toThrow(message);
    expect(await hf.channel('jobs').inspect()).toMatchObject({ consumers: 0 });
  });

  test('refuses to isolate a function', async () => {
    const hf = await openUntilEnd('memory:');
    const options = { isolate: 'thread' } as object;
    await expect(hf.channel('jobs').consume(() => {}, options)).rejects.toThrow('give the URL of a module');
  });
});

async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
