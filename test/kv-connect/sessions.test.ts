import { describe, expect, test } from 'vitest';
import { settled, until } from '../helpers/manual-clock.ts';
import { exchange, keyOf, mutation, RawKv, startKvServer, startTimedServer } from './server.ts';

const IDLE_MS = 60_000;

describe('the session of a token', () => {
  test('is shared by all of its requests, and each token has its own', async () => {
    const server = await startKvServer();
    const tokens = await Promise.all(
      ['a', 'b'].map(async (label) => (await server.hf.tokens.create({ label, scopes: ['kv::r,w'] })).token),
    );
    await Promise.all(tokens.flatMap((token) => Array.from({ length: 20 }, () => exchange(server.url, token))));
    expect(server.sessions()).toBe(2);
    await Promise.all(Array.from({ length: 20 }, () => exchange(server.url, 'wrong')));
    expect(server.sessions()).toBe(2);
  });

  test('is closed a minute behind its last request, and opened anew for the next', async () => {
    const server = await startTimedServer();
    const raw = await RawKv.open(server);
    await server.clock.advance(IDLE_MS * 0.9);
    await raw.write({ mutations: [mutation('a', 'x')] });
    await server.clock.advance(IDLE_MS * 0.9);
    expect(server.sessions()).toBe(1);
    await server.clock.advance(IDLE_MS * 0.2);
    expect(server.sessions()).toBe(0);
    expect((await raw.get('a'))?.encoding).toBe(3);
    expect(server.sessions()).toBe(1);
  });

  test('stays for a watch, and no longer than its client', async () => {
    const server = await startTimedServer();
    const raw = await RawKv.open(server);
    const abort = new AbortController();
    const response = await raw.watch(['a'], abort.signal);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    await server.clock.advance(IDLE_MS * 3);
    expect(server.sessions()).toBe(1);
    abort.abort();
    await reader.closed.catch(() => {});
    // Until the server has heard of it, the watch goes on.
    for (let i = 0; server.sessions() > 0 && i < 100; i++) await server.clock.advance(IDLE_MS);
    expect(server.sessions()).toBe(0);
  });

  test('makes way for another when its messages have had 256 schedules, and goes on for what is under way', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    const enqueues = Array.from({ length: 300 }, (_, i) => ({
      payload: Buffer.from([0xff, 0x0f, 0x49, 2]),
      deadlineMs: 0,
      keysIfUndelivered: [],
      backoffSchedule: [i],
    }));
    const response = await raw.watch(['a']);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    expect((await raw.write({ enqueues })).output.status).toBe(1);
    await raw.get('a');
    expect(server.sessions()).toBe(1);
    await raw.write({ mutations: [mutation('a', 'x')], checks: [{ key: keyOf('a'), versionstamp: new Uint8Array() }] });
    expect(server.sessions()).toBe(2);
    expect((await reader.read()).value?.length).toBeGreaterThan(4);
    await reader.cancel();
    await until(() => server.sessions() === 1);
    await settled();
    expect(await server.hf.channel('kv/queue').inspect()).toMatchObject({ ready: 300 });
  });
});
