import { createWriteStream } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, test } from 'vitest';
import { type Holdfast, restore } from 'holdfast';
import { newFolder, openUntilEnd, startInMemory, timelessSetups } from '../helpers/instances.ts';

/** Takes a backup into a file of its own. */
async function backUp(hf: Holdfast): Promise<string> {
  const file = join(newFolder(), 'backup');
  await pipeline(Readable.from(hf.backup()), createWriteStream(file));
  return file;
}

/** Opens what a backup is restored to. */
async function restored(file: string): Promise<Holdfast> {
  const folder = join(newFolder(), 'restored');
  await restore(file, folder);
  return openUntilEnd(`file:${folder}`);
}

describe.each(timelessSetups)('backup() and restore() [$name]', ({ start }) => {
  test('bring back channels and messages in every state', async () => {
    const { hf } = await start();
    const mail = hf.channel<string>('mail', { attempts: 1, retain: { completed: false, dead: false } });
    const held: (() => void)[] = [];
    const consumer = await mail.consume(
      (text) => {
        if (text === 'bad') throw new Error('boom');
        if (text !== 'held') return `done ${text}`;
        return new Promise<string>((resolve) => held.push(() => resolve('held')));
      },
      { concurrency: 10 },
    );
    const done = await mail.produce('good');
    const dead = await mail.produce('bad');
    await mail.result(done.id);
    await mail.result(dead.id).catch(() => {});
    const leased = await mail.produce('held');
    for await (const event of hf.events({ after: 0 })) {
      if (event.kind === 'message' && event.what === 'claimed' && event.id === leased.id) break;
    }
    const delayed = await mail.produce('later', { delay: '1h' });
    const other = await hf.channel<number>('other').produce(5);
    await hf.admin.pause('other');

    const again = await restored(await backUp(hf));
    for (const release of held) release();
    await consumer.drain();
    expect(await again.channelNames()).toEqual(['mail', 'other']);
    expect(await again.admin.inspect('other')).toMatchObject({ ready: 1, paused: true });
    expect(await again.admin.get(done.id)).toMatchObject({ state: 'completed', message: 'good', result: 'done good' });
    expect(await again.admin.get(dead.id)).toMatchObject({ state: 'dead', failure: { message: 'boom' } });
    expect(await again.admin.get(leased.id)).toMatchObject({ state: 'ready', message: 'held', attempts: 0 });
    expect(await again.admin.get(delayed.id)).toMatchObject({ state: 'delayed' });
    expect(await again.admin.get(other.id)).toMatchObject({ state: 'ready', message: 5 });
    const [mailNow, mailThen] = [await again.admin.inspect('mail'), await mail.inspect()];
    expect(mailNow?.totals.produced).toBe(mailThen.totals.produced);
  });

  test('bring back groups with their rules, pauses and holds, and the limits of channels', async () => {
    const { hf } = await start();
    const rate = { count: 1, per: '1h', kind: 'window' } as const;
    const jobs = hf.channel<number>('jobs', { limits: { concurrency: 3 }, groups: { rate } });
    await jobs.produceAll([1, 2], { group: 'a' });
    await jobs.group('b').pause();
    await jobs.group('c').configure({ weight: 4 });
    const { id } = await jobs.produce(3, { group: 'd', cost: 2 });
    const consumer = await jobs.consume(() => {});
    await jobs.result(id);
    await consumer.drain();

    const again = await restored(await backUp(hf));
    expect(await again.admin.inspect('jobs')).toMatchObject({ ready: 1, settings: { concurrency: 3 } });
    expect(await again.admin.group('jobs', 'a').inspect()).toMatchObject({ ready: 1, backlog: 1 });
    expect((await again.admin.group('jobs', 'a').inspect())?.heldMs).toBeGreaterThan(0);
    expect(await again.admin.group('jobs', 'b').inspect()).toMatchObject({ paused: true });
    expect(await again.admin.group('jobs', 'c').inspect()).toMatchObject({ rules: { weight: 4 } });
    expect((await again.admin.group('jobs', 'd').inspect())?.heldMs).toBeGreaterThan(0);
  });

  test('bring back large messages and many small ones', async () => {
    const { hf } = await start();
    const files = hf.channel<Uint8Array>('files');
    for (let i = 0; i < 6; i++) await files.produce(new Uint8Array(4_000_000).fill(i));
    await hf.channel<number>('numbers').produceAll(Array.from({ length: 5_000 }, (_, i) => i));
    const again = await restored(await backUp(hf));
    expect(await again.admin.inspect('numbers')).toMatchObject({ ready: 5_000 });
    const listed = await again.admin.list('files', 'ready');
    expect(listed.map(({ message }) => (message as Uint8Array)[3_999_999])).toEqual([0, 1, 2, 3, 4, 5]);
    const seen: number[] = [];
    await new Promise<void>((resolve) => {
      void again.channel<number>('numbers').consume((number) => {
        if (seen.push(number) === 5_000) resolve();
      });
    });
    expect(seen).toEqual(Array.from({ length: 5_000 }, (_, i) => i));
  });

  test('a client takes one backup at a time, and another one when that has ended or was given up', async () => {
    const { hf } = await start();
    await hf.channel<number>('numbers').produce(1);
    const first = hf.backup();
    await first.next();
    await expect(hf.backup().next()).rejects.toMatchObject({ code: 'TOO_MANY' });
    await first.return();
    const second = hf.backup();
    for await (const part of second) expect(part.length).toBeGreaterThan(0);
    expect(await hf.backup().next()).toMatchObject({ done: false });
  });

  test('the signal ends it', async () => {
    const { hf } = await start();
    const abort = new AbortController();
    const backup = hf.backup({ signal: abort.signal });
    await backup.next();
    abort.abort(new Error('enough'));
    await expect(backup.next()).rejects.toThrow('enough');
    expect(await hf.backup().next()).toMatchObject({ done: false });
    expect(() => hf.backup({ file: 'x' } as object)).toThrow(TypeError);
  });
});

describe('backup()', () => {
  test('has everything that was acknowledged before, and what was written while it was taken', async () => {
    const { hf } = await startInMemory();
    const numbers = hf.channel<number>('numbers');
    for (let i = 0; i < 3_000; i++) void numbers.produce(i);
    await numbers.produce(3_000);
    const doubled = hf.channel<number>('doubled');
    const consumer = await numbers.consume((number, { tx }) => tx.produce(doubled, number));
    const parts: Uint8Array[] = [];
    const later: Promise<unknown>[] = [];
    let produced = 3_001;
    for await (const part of hf.backup()) {
      parts.push(part);
      for (let i = 0; i < 50; i++) later.push(numbers.produce(produced++));
    }
    await Promise.all(later);
    await consumer.close();
    const file = join(newFolder(), 'backup');
    await writeFile(file, Buffer.concat(parts));
    const again = await restored(file);
    const there: number[] = [];
    for (const channel of ['numbers', 'doubled']) {
      for (let offset = 0; ; offset += 100) {
        const page = await again.admin.list(channel, 'ready', { offset, limit: 100 });
        there.push(...page.map(({ message }) => message as number));
        if (page.length < 100) break;
      }
    }
    const sorted = there.toSorted((a, b) => a - b);
    expect(new Set(sorted).size).toBe(sorted.length);
    expect(sorted.slice(0, 3_001)).toEqual(Array.from({ length: 3_001 }, (_, i) => i));
  });
});

describe('restore()', () => {
  async function smallBackup(): Promise<string> {
    const { hf } = await startInMemory({ space: 'small' });
    await hf.channel<string>('mail').produce('hello');
    return backUp(hf);
  }

  test('makes a store of the same space, and says of when it is', async () => {
    const file = await smallBackup();
    const folder = join(newFolder(), 'a', 'b');
    expect(await restore(file, folder)).toEqual({ space: 'small', at: Date.UTC(2030, 0, 1) });
    expect(await readdir(folder)).toEqual(['small.mdb']);
    const again = await openUntilEnd(`file:${folder}`, { space: 'small' });
    expect(await again.channelNames()).toEqual(['mail']);
  });

  test('refuses a folder that holds a store, and leaves it as it is', async () => {
    const file = await smallBackup();
    const folder = newFolder();
    await restore(file, folder);
    const before = await readFile(join(folder, 'small.mdb'));
    await expect(restore(file, folder)).rejects.toMatchObject({ code: 'STORE_EXISTS' });
    expect(await readFile(join(folder, 'small.mdb'))).toEqual(before);
    expect(await readdir(folder)).toEqual(['small.mdb']);
  });

  test('refuses a file that is damaged, before anything is written', async () => {
    const file = await smallBackup();
    const whole = await readFile(file);
    const folder = join(newFolder(), 'new');
    const spoiled = join(newFolder(), 'spoiled');
    for (let at = 0; at < whole.length; at += 13) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] as number) ^ 0x10;
      await writeFile(spoiled, bytes);
      await expect(restore(spoiled, folder), `byte ${at}`).rejects.toMatchObject({
        code: expect.stringMatching(/^(BACKUP_DAMAGED|STORE_TOO_NEW)$/) as unknown,
      });
      await writeFile(spoiled, whole.subarray(0, at));
      await expect(restore(spoiled, folder), `cut at ${at}`).rejects.toMatchObject({ code: 'BACKUP_DAMAGED' });
    }
    await expect(readdir(folder)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(restore(join(folder, 'nothing'), folder)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(restore('', folder)).rejects.toThrow(TypeError);
  });
});
