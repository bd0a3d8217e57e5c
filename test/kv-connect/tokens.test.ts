import { serialize } from 'node:v8';
import { describe, expect, test } from 'vitest';
import { open } from 'holdfast';
import { openKv } from 'holdfast/deno';
import { untilTrue } from '../helpers/until-true.ts';
import { exchange, keyOf, mutation, RawKv, startKvServer } from './server.ts';

const ENQUEUE = { payload: serialize(1), deadlineMs: 0, keysIfUndelivered: [], backoffSchedule: [] };

describe('a token of KV Connect', () => {
  test.each(['leads', 'follows'] as const)('may be anything where none is needed (server %s)', async (role) => {
    const server = await startKvServer(role);
    const { hf } = server;
    const early = await RawKv.open(server, 'whatever');
    expect((await early.write({ mutations: [mutation('a', '1')] })).status).toBe(200);
    // One that was of another space, as long as there is no other in this one.
    const foreign = `hf_0123456789ab_${'x'.repeat(43)}`;
    expect((await exchange(server.url, foreign)).status).toBe(200);
    const { token } = await hf.tokens.create({ label: 'a', scopes: ['kv::r,w'] });
    await untilTrue(async () => (await early.read([{}])).status === 401);
    expect((await exchange(server.url, 'whatever')).status).toBe(401);
    expect((await exchange(server.url, foreign)).status).toBe(401);
    const late = await RawKv.open(server, token);
    expect((await late.get('a'))?.value).toEqual(Uint8Array.of(0x31));
    await untilTrue(() => server.logged.some((line) => line.includes('127.0.0.1')));
  });

  test('may be asked for by the door of Deno here, at the same URL', async () => {
    const server = await startKvServer();
    const { token } = await server.hf.tokens.create({ label: 'a', scopes: ['kv:a:r,w'] });
    const kv = await openKv(server.url, { token });
    await kv.set(['a'], 'x');
    expect((await (await RawKv.open(server, token)).get('a'))?.encoding).toBe(1);
    kv.close();
  });

  test('is an access token, and allows what its scopes do', async () => {
    const server = await startKvServer();
    const { hf } = server;
    const { token: readsUsers } = await hf.tokens.create({ label: 'r', scopes: ['kv:users:r'] });
    const { token: writesUsers } = await hf.tokens.create({ label: 'w', scopes: ['kv:users:r,w'] });
    const { token: enqueues } = await hf.tokens.create({ label: 'q', scopes: ['channel:kv/queue:produce'] });
    await hf.kv.set(['users', 'a'], 1);
    await hf.kv.set(['other'], 1);
    const [reader, writer, producer] = [
      await RawKv.open(server, readsUsers),
      await RawKv.open(server, writesUsers),
      await RawKv.open(server, enqueues),
    ];
    const users = { start: Buffer.from('\u0002users\0\0', 'latin1'), end: Buffer.from('\u0002users\0\xff', 'latin1') };
    expect((await reader.read([users])).output.ranges[0]?.values).toHaveLength(1);
    expect(await reader.read([{}])).toMatchObject({ status: 403, text: expect.stringContaining('kv:PREFIX:r') });
    expect(
      await reader.read([{ start: keyOf('other'), end: Buffer.concat([keyOf('other'), Uint8Array.of(0)]) }]),
    ).toMatchObject({
      status: 403,
    });
    // As `@deno/kv` gets a key: the first entry from there on, of which it wants that of the key alone.
    const key = Buffer.from('\u0002users\0\u0002a\0');
    const first = await reader.read([{ start: key, limit: 1 }]);
    expect(first.output.ranges[0]?.values.map((entry) => Buffer.from(entry.key))).toEqual([key]);
    const absent = Buffer.from('\u0002users\0\u0002\0');
    expect((await reader.read([{ start: absent, limit: 1 }])).output.ranges).toEqual([{ values: [] }]);
    expect((await reader.read([{ start: keyOf('other'), limit: 1 }])).status).toBe(403);
    expect((await reader.read([{ start: key, limit: 2 }])).status).toBe(403);
    expect((await reader.read([{ start: key, limit: 1, reverse: true }])).status).toBe(403);
    const ofUsers = mutation('users', 'x', { key: Buffer.from('\u0002users\0\u0002b\0') });
    expect(await reader.write({ mutations: [ofUsers] })).toMatchObject({
      status: 403,
      text: expect.stringContaining('kv:PREFIX:w'),
    });
    expect((await reader.watch(['other'])).status).toBe(403);
    expect((await writer.write({ mutations: [ofUsers] })).output.status).toBe(1);
    expect((await writer.write({ mutations: [mutation('other', 'x')] })).status).toBe(403);
    expect(await writer.write({ mutations: [ofUsers], enqueues: [ENQUEUE] })).toMatchObject({
      status: 403,
      text: expect.stringContaining('channel:kv/queue'),
    });
    expect((await producer.write({ enqueues: [ENQUEUE] })).output.status).toBe(1);
    // Nobody writes keys through the queue that he may not write.
    expect((await producer.write({ enqueues: [{ ...ENQUEUE, keysIfUndelivered: [keyOf('a')] }] })).status).toBe(403);
    expect((await hf.kv.get(['other'])).value).toBe(1);
    expect(await hf.channel('kv/queue').inspect()).toMatchObject({ ready: 1 });
  });

  test('ends all that was begun with it when it is revoked', async () => {
    const server = await startKvServer();
    const { hf } = server;
    const { token, id } = await hf.tokens.create({ label: 'a', scopes: ['kv::r,w'] });
    const raw = await RawKv.open(server, token);
    const watch = await raw.watch(['a']);
    const reader = (watch.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    await hf.tokens.revoke(id);
    // The stream is broken off, so that its client asks again, and hears why.
    await expect(reader.read()).rejects.toThrow();
    expect(await raw.read([{}])).toMatchObject({ status: 401, text: expect.stringContaining('revoked') });
    expect((await exchange(server.url, token)).status).toBe(401);
  });

  test('that is wrong in its secret is refused as one that is unknown', async () => {
    const server = await startKvServer();
    const { token } = await server.hf.tokens.create({ label: 'a', scopes: ['kv::r,w'] });
    const wrong = [token.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')), `hf_0123456789ab_${'x'.repeat(43)}`];
    const texts = await Promise.all(wrong.map(async (one) => (await exchange(server.url, one)).text()));
    expect(texts).toEqual(Array.from(wrong, () => 'The access token is not known here'));
    for (const none of [`${token}x`, 'x'.repeat(5_000)]) expect((await exchange(server.url, none)).status).toBe(401);
    // Many at once leave room for the right one.
    await Promise.all(Array.from({ length: 50 }, () => exchange(server.url, wrong[0] as string)));
    expect((await exchange(server.url, token)).status).toBe(200);
  });
});

test('a door goes on when another process takes the lead', async () => {
  const server = await startKvServer('follows');
  const raw = await RawKv.open(server);
  await raw.write({ mutations: [mutation('a', '1')] });
  const watch = await raw.watch(['a']);
  const reader = (watch.body as ReadableStream<Uint8Array>).getReader();
  await reader.read();
  await server.hf.close();
  expect((await raw.write({ mutations: [mutation('a', '2')] })).output.status).toBe(1);
  expect((await raw.get('a'))?.value).toEqual(Uint8Array.of(0x32));
  expect((await reader.read()).value?.length).toBeGreaterThan(4);
});

test('sessions of a door end with its server', async () => {
  const server = await startKvServer();
  const raw = await RawKv.open(server);
  await raw.write({ mutations: [mutation('a', '1')] });
  const watch = await raw.watch(['a']);
  const reader = (watch.body as ReadableStream<Uint8Array>).getReader();
  await reader.read();
  await server.close();
  await expect(reader.read()).rejects.toThrow();
  await server.hf.close();
  const again = await open(`file:${server.folder}`, { thread: false });
  expect((await again.kv.get(['a'])).value).toEqual(Uint8Array.from(Buffer.from('1')));
  await again.close();
});
