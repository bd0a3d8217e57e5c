import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { KvU64, restore } from 'holdfast';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { untilTrue } from '../helpers/until-true.ts';

test('a backup that is taken while entries are written has all of one moment, and its versions go on', async () => {
  const folder = newFolder();
  const hf = await openUntilEnd(`file:${folder}`);
  const { kv } = hf;
  await kv.set(['expires'], 1, { expireIn: 3_600_000 });
  await kv.set(['large'], 'x'.repeat(60_000));
  let written = 0;
  let goesOn = true;
  const writing = (async () => {
    // Both entries of a commit are there, or neither.
    for (; goesOn; written++) {
      const n = new KvU64(BigInt(written));
      await kv
        .atomic()
        .set(['a', written % 500], n)
        .set(['b', written % 500], n)
        .commit();
    }
  })();
  await untilTrue(() => written > 50);
  const parts: Uint8Array[] = [];
  for await (const part of hf.backup()) parts.push(part);
  goesOn = false;
  await writing;
  const file = join(newFolder(), 'backup');
  await writeFile(file, Buffer.concat(parts));
  const target = join(newFolder(), 'restored');
  await restore(file, target);

  const restored = await openUntilEnd(`file:${target}`);
  const list = async (first: string): Promise<unknown[]> => {
    const values: unknown[] = [];
    for await (const { value } of restored.kv.list<KvU64>({ prefix: [first] })) values.push(value.value);
    return values;
  };
  const entries = await list('a');
  expect(entries.length).toBeGreaterThan(0);
  expect(await list('b')).toEqual(entries);
  expect((await restored.kv.get(['large'])).value).toBe('x'.repeat(60_000));
  const { versionstamp } = await restored.kv.get(['expires']);
  const { versionstamp: next } = await restored.kv.set(['next'], 1);
  expect(next > (versionstamp ?? '')).toBe(true);
  const newest: string[] = [];
  for await (const entry of restored.kv.list({ prefix: [] })) newest.push(entry.versionstamp);
  expect(newest.every((one) => one <= next)).toBe(true);
});
