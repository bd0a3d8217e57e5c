import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openLmdbStore } from '#holdfast/store/lmdb.js';
import { run } from './children.ts';
import { temporaryFolder } from './folders.ts';

const folder = temporaryFolder();
const PROCESSES = 4;
const DURATION_MS = 4_000;

test('processes that depose each other all the time never both acknowledge, and lose nothing', async () => {
  const path = join(folder, 'store');
  await (await openLmdbStore({ path })).close();
  const ended = await Promise.all(
    Array.from({ length: PROCESSES }, (_, i) =>
      run('node', ['test/store/duel-script.mjs', path, String(DURATION_MS), `process ${i}`]),
    ),
  );
  for (const { code, signal, errors } of ended)
    expect({ code, signal, errors }).toMatchObject({ code: 0, signal: null });
  const lines = ended.flatMap(({ output }) => output.split('\n').filter((line) => line !== ''));
  const acknowledged = lines.flatMap((line) => {
    const [, number, value] = /^ack (\d+) (.*)$/.exec(line) ?? [];
    return number === undefined ? [] : [{ number, value }];
  });
  expect(lines.filter((line) => line.startsWith('fenced')).length).toBeGreaterThan(10);
  expect(acknowledged.length).toBeGreaterThan(100);
  expect(new Set(acknowledged.map(({ number }) => number)).size).toBe(acknowledged.length);

  const store = await openLmdbStore({ path });
  const outcome = await store.acquire('judge', await store.leader());
  if (!('won' in outcome)) throw new Error('The race is lost');
  const keys = acknowledged.map(({ number }) => new Uint8Array(Buffer.from(`key ${number}`)));
  const values = await store.get(outcome.won, keys);
  expect(values.map((value) => Buffer.from(value ?? []).toString())).toEqual(acknowledged.map(({ value }) => value));
  await store.close();
}, 30_000);
