import { describe, expect, test } from 'vitest';
import { type LogLine, open } from 'holdfast';
import { systemClock } from '#holdfast/model/clock.js';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';

describe('a folder that is open in this process', () => {
  test('is shared, with the options of whoever opened it first', async () => {
    const url = `file:${newFolder()}`;
    const first = await openUntilEnd(url, { reserveBytes: 1_000_000 });
    const second = await openUntilEnd(url);
    const third = await openUntilEnd(url, { reserveBytes: 1_000_000, sessionTimeout: '30s', thread: true });
    await first.channel<string>('mail').produce('hello');
    expect((await second.channel('mail').inspect()).ready).toBe(1);
    expect((await third.channel('mail').inspect()).ready).toBe(1);
  });

  test.each([{ reserveBytes: 5 }, { sessionTimeout: '5s' }, { thread: false }] as const)(
    'is refused with another option: %o',
    async (options) => {
      const url = `file:${newFolder()}`;
      const first = await openUntilEnd(url);
      const name = Object.keys(options)[0] as string;
      await expect(open(url, options)).rejects.toThrow(`with another "${name}": this process has it open already`);
      await first.channel<number>('mail').produce(1);

      // Refused opens leave nothing behind: when the first is closed, the folder is free.
      await first.close();
      await openUntilEnd(url, options);
    },
  );

  test('refuses a bad option as the first open does', async () => {
    const url = `file:${newFolder()}`;
    await openUntilEnd(url);
    await expect(open(url, { reserveBytes: -1 })).rejects.toThrow(RangeError);
    await expect(open(url, { clock: { ...systemClock } })).rejects.toThrow('with another "clock"');
  });

  test('tells its log to everybody who has it open', async () => {
    const url = `file:${newFolder()}`;
    let aheadMs = 0;
    const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + aheadMs };
    const heard: Record<'first' | 'second', LogLine[]> = { first: [], second: [] };
    const hears =
      (who: LogLine[]) =>
      (line: LogLine): void => {
        if (line.level !== 'info') who.push(line);
      };
    const first = await open(url, { clock, log: hears(heard.first) });
    const second = await openUntilEnd(url, { clock, log: hears(heard.second) });
    aheadMs = 3_600_000;
    await second.channel<number>('mail').produce(1);
    expect(heard.first.map(({ message }) => message)).toEqual([expect.stringContaining('ahead of machine time')]);
    expect(heard.second).toEqual(heard.first);

    await first.close();
    aheadMs = 0;
    await second.channel<number>('mail').produce(2);
    aheadMs = 7_200_000;
    await second.channel<number>('mail').produce(3);
    expect(heard.first.length).toBe(1);
    expect(heard.second.length).toBe(2);
  });
});
