import { describe, expect, test } from 'vitest';
import { startInMemory, timelessSetups } from '../helpers/instances.ts';

const NOBODY = '01900000-0000-7000-8000-000000000000';

describe.each(timelessSetups)('admin [$name]', ({ start }) => {
  test('overview() gives all channels in the order of their names', async () => {
    const { hf } = await start();
    await hf.channel<number>('b').produceAll([1, 2]);
    await hf.channel<number>('a').produce(1, { delay: '1h' });
    const overview = await hf.admin.overview();
    expect(overview.map(({ channel, ready, delayed }) => ({ channel, ready, delayed }))).toEqual([
      { channel: 'a', ready: 0, delayed: 1 },
      { channel: 'b', ready: 2, delayed: 0 },
    ]);
  });

  test('makes no channel', async () => {
    const { hf } = await start();
    expect(await hf.admin.inspect('mail')).toBeUndefined();
    expect(await hf.admin.list('mail', 'ready')).toEqual([]);
    for (const action of ['pause', 'resume', 'purge', 'redrive'] as const) {
      await expect(hf.admin[action]('mail')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
    expect(await hf.channelNames()).toEqual([]);
  });

  test('configures a channel, and finds and pauses its groups', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail');
    await mail.produce(1, { group: 'ann' });
    await hf.admin.configure('mail', { limits: { concurrency: 4 } });
    await hf.admin.group('mail', 'ann').pause();
    expect(await hf.admin.inspect('mail')).toMatchObject({ settings: { concurrency: 4 } });
    const groups: unknown[] = [];
    for await (const group of hf.admin.groups('mail')) groups.push(group);
    expect(groups).toMatchObject([{ group: 'ann', paused: true, ready: 1 }]);
    await expect(hf.admin.configure('nothing', { limits: {} })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(hf.admin.group('nothing', 'ann').pause()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(hf.admin.configure('mail', { limit: 1 } as never)).rejects.toThrow('known are retain, limits, groups');
  });

  test('finds and manages a message of any channel by its id', async () => {
    const { hf } = await start();
    const mail = hf.channel<string>('mail', { attempts: 1 });
    const { id } = await mail.produce('hello');
    expect(await hf.admin.get(id)).toMatchObject({ id, channel: 'mail', message: 'hello', state: 'ready' });
    const consumer = await mail.consume(() => {
      throw new Error('boom');
    });
    await mail.result(id).catch(() => {});
    await consumer.drain();
    await hf.admin.retry(id);
    expect(await hf.admin.get(id)).toMatchObject({ state: 'ready' });
    await expect(hf.admin.promote(id)).rejects.toMatchObject({ code: 'WRONG_STATE' });
    await hf.admin.cancel(id);
    expect(await hf.admin.get(id)).toMatchObject({ state: 'cancelled' });
    await hf.admin.retry(id);
    await expect(hf.admin.retry(id)).rejects.toMatchObject({ code: 'WRONG_STATE' });
    await hf.admin.update(id, { message: 'goodbye' });
    expect(await hf.admin.get(id)).toMatchObject({ message: 'goodbye', state: 'ready' });
    expect((await hf.admin.search({ text: 'good' })).messages).toMatchObject([{ id, channel: 'mail' }]);
    await hf.admin.remove(id);
    expect(await hf.admin.get(id)).toBeUndefined();
    for (const action of ['retry', 'cancel', 'promote', 'remove'] as const) {
      await expect(hf.admin[action](NOBODY)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(hf.admin[action]('no id')).rejects.toThrow(TypeError);
    }
    expect(await hf.admin.get(NOBODY)).toBeUndefined();
    await expect(hf.admin.get('no id')).rejects.toThrow(TypeError);
  });

  test('pause(), resume(), purge() and redrive() act on a channel that exists', async () => {
    const { hf } = await start();
    const mail = hf.channel<number>('mail');
    await hf.admin.pause('mail');
    expect(await mail.inspect()).toMatchObject({ paused: true });
    await hf.admin.resume('mail');
    expect(await mail.inspect()).toMatchObject({ paused: false });
    await mail.produceAll([1, 2]);
    expect(await hf.admin.purge('mail')).toBe(2);
    expect(await hf.admin.redrive('mail')).toBe(0);
  });

  test('list() gives large messages although an answer holds only some of them', async () => {
    const { hf } = await start();
    const files = hf.channel<Uint8Array>('files');
    for (let i = 0; i < 25; i++) await files.produce(new Uint8Array(3_000_000).fill(i));
    const listed = await hf.admin.list('files', 'ready', { limit: 24 });
    expect(listed.map(({ message }) => (message as Uint8Array)[0])).toEqual(Array.from({ length: 24 }, (_, i) => i));
    const [last] = await files.list('ready', { offset: 24 });
    expect(last?.message.length).toBe(3_000_000);
  });
});

describe('overview()', () => {
  test('gives more channels than one answer holds', async () => {
    const { hf } = await startInMemory();
    const names = Array.from({ length: 2_100 }, (_, i) => `channel ${String(i).padStart(4, '0')}`);
    for (const name of names) hf.channel(name);
    expect((await hf.admin.overview()).map(({ channel }) => channel)).toEqual(names);
  });
});

describe('oldestReadyMs', () => {
  test('is the age of the message that has been ready longest, whatever its priority', async () => {
    const { hf, clock } = await startInMemory();
    const mail = hf.channel<string>('mail');
    const oldest = async (): Promise<number | undefined> => (await hf.admin.inspect('mail'))?.oldestReadyMs;
    await mail.inspect();
    expect(await oldest()).toBeUndefined();
    await clock.advance(60_000);
    const low = await mail.produce('low', { priority: 9 });
    await clock.advance(10_000);
    const first = await mail.produce('first', { lifo: true });
    await clock.advance(5_000);
    await mail.produce('second', { lifo: true });
    await mail.produce('high', { priority: -9 });
    expect(await oldest()).toBe(15_000);
    await hf.admin.cancel(low.id);
    expect(await oldest()).toBe(5_000);
    await hf.admin.cancel(first.id);
    expect(await oldest()).toBe(0);
  });

  test('counts from when a delayed message became due', async () => {
    const { hf, clock } = await startInMemory();
    const mail = hf.channel<string>('mail');
    await mail.produce('later', { delay: '1h' });
    await clock.advance(3_600_000);
    await clock.advance(7_000);
    const { oldestReadyMs } = await mail.inspect();
    expect(oldestReadyMs).toBeGreaterThanOrEqual(7_000);
    expect(oldestReadyMs).toBeLessThanOrEqual(8_000);
  });
});
