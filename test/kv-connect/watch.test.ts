import { describe, expect, onTestFinished, test } from 'vitest';
import { WATCH_OUTPUT, type WatchOutput } from '#holdfast/doors/kv-connect/messages.js';
import { mutation, RawKv, startKvServer, startTimedServer } from './server.ts';

const PING_MS = 5_000;

/** Reads the frames of a watch; an empty one is a ping, and given as `undefined`. */
async function frames(raw: RawKv, keys: readonly string[]): Promise<() => Promise<WatchOutput | undefined>> {
  const abort = new AbortController();
  onTestFinished(() => abort.abort());
  const response = await raw.watch(keys, abort.signal);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/octet-stream');
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let read = Buffer.alloc(0);
  const take = async (bytes: number): Promise<Buffer> => {
    while (read.length < bytes) {
      const { value, done } = await reader.read();
      if (done) throw new Error('The watch has ended');
      read = Buffer.concat([read, value]);
    }
    const taken = read.subarray(0, bytes);
    read = read.subarray(bytes);
    return taken;
  };
  return async () => {
    const length = (await take(4)).readUInt32LE();
    return length === 0 ? undefined : WATCH_OUTPUT.decode(await take(length));
  };
}

/** What a frame says, one entry a key: its value, or `null` where there is none. */
function told(output: WatchOutput | undefined): (string | null)[] | undefined {
  return output?.keys.map(({ changed, entryIfChanged }) => {
    expect(changed).toBe(true);
    return entryIfChanged === undefined ? null : Buffer.from(entryIfChanged.value).toString();
  });
}

describe('watch', () => {
  test('tells of all keys, at first and whenever one has changed, whoever changes it', async () => {
    const server = await startKvServer();
    const raw = await RawKv.open(server);
    await raw.write({ mutations: [mutation('a', '1')] });
    const next = await frames(raw, ['a', 'b']);
    const first = await next();
    expect(first?.status).toBe(1);
    expect(told(first)).toEqual(['1', null]);
    await raw.write({ mutations: [mutation('b', '2')] });
    expect(told(await next())).toEqual(['1', '2']);
    await raw.write({ mutations: [mutation('c', 'is not watched')] });
    await server.hf.kv.set(['a'], Buffer.from('3'));
    expect(told(await next())).toEqual(['3', '2']);
    await raw.write({ mutations: [mutation('a', '', { mutationType: 2 }), mutation('b', '4')] });
    expect(told(await next())).toEqual([null, '4']);
  });

  test('takes at most 10 keys, none of them too long', async () => {
    const raw = await RawKv.open(await startKvServer());
    const many = await raw.watch(Array.from({ length: 11 }, (_, i) => `${i}`));
    expect([many.status, await many.text()]).toEqual([400, 'Too many keys watched in a single watch request.']);
    const long = await raw.watch(['k'.repeat(2_047)]);
    expect([long.status, await long.text()]).toEqual([400, 'A key exceeds the key size limit.']);
  });

  test('says every 5 seconds that it is alive', async () => {
    const server = await startTimedServer();
    const next = await frames(await RawKv.open(server), ['a']);
    expect(told(await next())).toEqual([null]);
    for (let i = 0; i < 3; i++) {
      await server.clock.advance(PING_MS);
      expect(await next()).toBe(undefined);
    }
  });
});
