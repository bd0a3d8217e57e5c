import { describe, expect, test } from 'vitest';
import type { Holdfast } from 'holdfast';
import { encode } from '#holdfast/codec/bson.js';
import type { Command, Delivery } from '#holdfast/model/command.js';
import { encodeBye, FRAME } from '#holdfast/wire/frames.js';

import { PREAMBLE, recordOf } from '#holdfast/wire/stream.js';
import { openUntilEnd } from '../helpers/instances.ts';
import { memoryOf, type RunningServer, startLimitedServer, startServer } from './processes.ts';
import { connectRaw, declare, documentFrame, helloOf, newSession, produce, type RawClient } from './raw-client.ts';

const MB = 1024 * 1024;

/** A server, and a client of it that must notice nothing. */
interface Rig {
  readonly server: RunningServer;
  readonly hf: Holdfast;
  /** The witness still holds its session, and is answered. */
  readonly expectUnharmed: () => Promise<void>;
}

async function startRig(): Promise<Rig> {
  const server = await startLimitedServer({ sessionTimeoutMs: 10_000 });
  const hf = await openUntilEnd(server.url);
  const channel = hf.channel<number>('witness');
  let handled = 0;
  await channel.consume(() => void (handled += 1));
  let produced = 0;
  return {
    server,
    hf,
    async expectUnharmed() {
      const { id } = await channel.produce(++produced);
      await channel.result(id);
      expect(handled).toBe(produced);
      expect((await channel.inspect())?.totals.redelivered).toBe(0);
      expect(server.said.filter(({ level }) => level === 'error')).toEqual([]);
    },
  };
}

/** What one of them does, and what the server says to it. */
type Lie = readonly [name: string, tell: (client: RawClient) => Promise<void> | void, message: string];

describe('a client that breaks the protocol is told so and loses its connection, and nobody else notices', () => {
  async function expectRefused(lies: readonly Lie[]): Promise<void> {
    const { server, expectUnharmed } = await startRig();
    for (const [name, tell, message] of lies) {
      const client = connectRaw(server.port);
      await tell(client);
      const said = await client.ended;
      expect(said, name).toMatchObject({ code: 'PROTOCOL', message: expect.stringContaining(message) });
    }
    await expectUnharmed();
  }

  /** The head of a record that announces so many bytes. */
  function head(bytes: number): Buffer {
    const header = Buffer.alloc(8);
    header.writeUInt32LE(bytes, 0);
    return header;
  }

  function corrupt(frame: Uint8Array): Buffer {
    const record = Buffer.concat(recordOf(frame));
    record[record.length - 1] = (record[record.length - 1] as number) ^ 1;
    return record;
  }

  test('where it lies about lengths, checksums, versions and the order of frames', async () => {
    await expectRefused([
      ['4 GiB before HELLO', (client) => client.write(head(0xffff_ffff)), 'above the limit of 4096'],
      ['a byte above the limit before HELLO', (client) => client.write(head(4_097)), 'above the limit of 4096'],
      ['4 GiB after WELCOME', (client) => afterHello(client, () => client.write(head(0xffff_ffff))), 'above the limit'],
      [
        'a byte above the limit after WELCOME',
        (client) => afterHello(client, () => client.write(head(13 * MB + 1))),
        'above the limit of 13631488',
      ],
      ['nothing', (client) => client.write(head(0)), 'A frame is empty'],
      ['a wrong checksum', (client) => client.write(corrupt(helloOf(newSession()))), 'does not match its checksum'],
      ['requests before HELLO', (client) => client.ask({ request: 1, command: declare(1, 'a') }), 'come after HELLO'],
      ['a frame of the broker', (client) => client.send(Uint8Array.of(FRAME.welcome, 1)), 'a frame of kind 4'],
      ['a frame of no kind', (client) => client.send(Uint8Array.of(200)), 'a frame of kind 200'],
      ['a HELLO of another version', (client) => client.send(otherVersion()), 'Cannot speak version 2'],
      ['a HELLO that is cut short', (client) => client.send(helloOf(newSession()).subarray(0, 9)), 'are left'],
      ['another session', (client) => afterHello(client, () => client.send(helloOf(newSession()))), 'has one session'],
      [
        'a block of 4 GiB',
        (client) => afterHello(client, () => client.send(Uint8Array.of(2, 0, 1, 1, 1, 0, 1, 255, 255, 255, 255, 15))),
        'Cannot read 4294967295 bytes',
      ],
      [
        'a list of 4,294,967,295 leases',
        (client) => afterHello(client, () => client.send(Uint8Array.of(2, 0, 3, 1, 255, 255, 255, 255, 15))),
        'Cannot read 4294967295 items',
      ],
    ]);
  });

  test('where the stream has a version that does not exist', async () => {
    const { server, expectUnharmed } = await startRig();
    const client = connectRaw(server.port, { preamble: false });
    client.write(Uint8Array.of(...PREAMBLE.subarray(0, 3), 2));
    expect(await client.ended).toMatchObject({ code: 'PROTOCOL', message: expect.stringContaining('does not begin') });
    await expectUnharmed();
  });

  test('where its documents are hostile', async () => {
    const documents: readonly (readonly [name: string, bytes: Uint8Array, message: string])[] = [
      ['__proto__', bson(element(3, '__proto__', bson(element(8, 'x', [1])))), '__proto__'],
      ['a key twice', bson(element(2, 'kind', text('watch')), element(2, 'kind', text('watch'))), 'kind'],
      ['code', bson(element(13, 'kind', text('process.exit()'))), ''],
      ['code with a scope', bson(element(15, 'kind', [...int32(4 + 6 + 5), ...text('x'), ...bson()])), ''],
      ['a regular expression', bson(element(11, 'kind', [...Buffer.from('(a+)+$\0\0')])), ''],
      ['a symbol', bson(element(14, 'kind', text('watch'))), ''],
      ['a pointer', bson(element(12, 'kind', [...text('x'), ...Buffer.alloc(12)])), ''],
      ['1,000 levels', nested(1_000), 'levels'],
      ['an array that is longer than its bytes', bson(element(4, 'kind', int32(0x7fff_ffff))), ''],
      ['a length below zero', Uint8Array.from([...int32(-1), 0]), ''],
      ['an array of 50,000 items', encode({ kind: Array.from({ length: 50_000 }, () => 1) }), 'known kind'],
      ['no known kind', encode({ kind: 'constructor' }), 'known kind'],
      ['two megabytes', encode({ kind: 'watch', channel: 'x'.repeat(2 * MB) }), ''],
    ];
    await expectRefused(
      documents.map(([name, bytes, message]) => [
        name,
        (client) => afterHello(client, () => client.send(documentFrame(1, bytes))),
        message,
      ]),
    );
    expect(Object.prototype).not.toHaveProperty('x');
  });

  test('where it skips request numbers, or leaves more than 4,096 answers unconfirmed', async () => {
    const { server, hf, expectUnharmed } = await startRig();
    const skipping = connectRaw(server.port);
    await skipping.hello();
    await skipping.request(1, declare(1, 'skipped'));
    skipping.ask({ request: 3, command: produce(1, 3) });
    expect(await skipping.ended).toMatchObject({ message: 'Cannot apply request 3: request 2 comes first' });
    expect(await hf.channel('skipped').inspect()).toMatchObject({ ready: 0 });

    const hoarding = connectRaw(server.port);
    await hoarding.hello();
    await hoarding.request(1, declare(1, 'hoarded'));
    const requests = Array.from({ length: 4_097 }, (_, i) => ({ request: i + 2, command: produce(1, i) }));
    hoarding.ask(...requests);
    expect(await hoarding.ended).toMatchObject({ message: 'Cannot hold more than 4096 unconfirmed answers' });
    expect(await hf.channel('hoarded').inspect()).toMatchObject({ ready: 4_096 });
    await expectUnharmed();
  });

  test('where it does so while the store is full', async () => {
    const server = await startServer({ more: ['--reserve-bytes', String(Number.MAX_SAFE_INTEGER)] });
    const full = { kind: 'refused', code: 'STORE_FULL' };
    const skipping = connectRaw(server.port);
    await skipping.hello();
    await skipping.request(1, declare(1, 'skipped'));
    skipping.ask({ request: 0, command: produce(1, 0) });
    expect(await skipping.request(2, produce(1, 1))).toMatchObject(full);
    skipping.ask({ request: 9, command: produce(1, 3) });
    expect(await skipping.ended).toMatchObject({ message: 'Cannot apply request 9: request 3 comes first' });

    const hoarding = connectRaw(server.port);
    await hoarding.hello();
    await hoarding.request(1, declare(1, 'hoarded'));
    hoarding.ask(...Array.from({ length: 4_097 }, (_, i) => ({ request: i + 2, command: produce(1, i) })));
    expect(await hoarding.ended).toMatchObject({ message: 'Cannot hold more than 4096 unconfirmed answers' });
    await expect((await openUntilEnd(server.url)).channel<number>('mail').produce(1)).rejects.toMatchObject({
      code: 'STORE_FULL',
    });
  });

  test('where it opens more consumers or a larger window than it may', async () => {
    const window = (consumer: number, size: number): Command => ({ kind: 'window', consumer, ref: 1, size });
    const open = async (client: RawClient): Promise<void> => {
      await client.hello();
      await client.request(1, declare(1, 'opened'));
    };
    await expectRefused([
      [
        'a window of 20,001',
        async (client) => {
          await open(client);
          client.ask({ request: 2, command: window(1, 20_001) });
        },
        'Cannot open a window of 20001',
      ],
      [
        '20,001 consumers',
        async (client) => {
          await open(client);
          client.ask(...Array.from({ length: 20_001 }, (_, i) => ({ request: 0, command: window(i + 1, 1) })));
        },
        'Cannot have more than 20000',
      ],
    ]);
  });
});

describe('a client that uses what is not its own', () => {
  test('is refused refs and consumers that it never declared, and changes nothing', async () => {
    const { server, hf, expectUnharmed } = await startRig();
    await hf.channel<number>('theirs').produce(1);
    const client = connectRaw(server.port);
    await client.hello();
    const refusal = { kind: 'refused', code: 'PROTOCOL', message: expect.stringContaining('No channel was declared') };
    expect(await client.request(1, produce(7, 1))).toMatchObject(refusal);
    expect(await client.request(2, { kind: 'window', consumer: 1, ref: 7, size: 5 })).toMatchObject(refusal);
    expect(await client.request(3, { kind: 'window', consumer: 9, ref: 2 ** 40, size: 0 })).toMatchObject(refusal);
    expect(client.deliveries).toEqual([]);
    expect(await hf.channel('theirs').inspect()).toMatchObject({ ready: 1, totals: { produced: 1 } });
    await expectUnharmed();
  });

  test('is told that the leases of others are lost to it, and they keep them', async () => {
    const { server, hf, expectUnharmed } = await startRig();
    const { id } = await hf.channel<number>('theirs').produce(1);
    const [owner, liar] = [connectRaw(server.port), connectRaw(server.port)];
    for (const client of [owner, liar]) {
      await client.hello();
      await client.request(1, declare(1, 'theirs'));
      await client.request(2, { kind: 'window', consumer: 1, ref: 1, size: 10 });
    }
    await owner.delivered(1);
    const { seq, token } = owner.deliveries[0] as Delivery;
    const ack: Command = {
      kind: 'settle',
      settles: [{ seq, token, outcome: { kind: 'ack', result: undefined }, produced: undefined, effects: undefined }],
    };
    for (const kind of ['started', 'holding'] as const) {
      liar.ask({ request: 0, command: { kind, leases: [{ seq, token }] } });
    }
    expect(await liar.request(3, ack)).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
    expect(await liar.request(4, { kind: 'extend', seq, token, forMs: 1 })).toEqual({
      kind: 'settled',
      lost: [0],
      conflicts: [],
    });
    const line = { kind: 'annotate', seq, token, progress: undefined, line: 'mine' } as const;
    expect(await liar.request(5, line)).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
    // Nor does the owner get anywhere with a token of another claim.
    for (const [i, wrong] of [0, token - 1, token + 1, Number.MAX_SAFE_INTEGER].entries()) {
      expect(await owner.request(3 + i, { kind: 'extend', seq, token: wrong, forMs: 1 })).toMatchObject({ lost: [0] });
    }
    expect(await hf.channel('theirs').get(id)).toMatchObject({ state: 'leased', log: [] });
    expect(await owner.request(7, ack)).toEqual({ kind: 'settled', lost: [], conflicts: [] });
    expect(await hf.channel('theirs').inspect()).toMatchObject({ completed: 1, totals: { redelivered: 0 } });
    expect(liar.deliveries).toEqual([]);
    await expectUnharmed();
  });

  test('cannot end or take up a session without its id', async () => {
    const { server, expectUnharmed } = await startRig();
    const client = connectRaw(server.port);
    expect(await client.hello('0'.repeat(32))).toMatchObject({ resumed: false });
    client.send(encodeBye());
    expect(await client.ended).toBe('closed');
    await expectUnharmed();
  });
});

test('a client that announces much and sends little costs the server no memory for what it announces', async () => {
  const { server, expectUnharmed } = await startRig();
  await expectUnharmed();
  const before = await memoryOf(server);
  const clients = Array.from({ length: 200 }, () => connectRaw(server.port));
  const header = Buffer.alloc(8 + 64);
  header.writeUInt32LE(13 * MB, 0);
  for (const client of clients) {
    await client.hello();
    client.write(header);
  }
  // What was sent has been read when the answer to a later connection has come.
  await connectRaw(server.port).hello();
  expect((await memoryOf(server)) - before).toBeLessThan(50 * MB);
  for (const client of clients) client.socket.destroy();
  await expectUnharmed();
});

async function afterHello(client: RawClient, tell: () => void): Promise<void> {
  await client.hello();
  tell();
}

function otherVersion(): Uint8Array {
  const frame = helloOf(newSession());
  frame[1] = 2;
  return frame;
}

function bson(...elements: Uint8Array[]): Uint8Array {
  const content = Buffer.concat(elements);
  return Uint8Array.from([...int32(content.length + 5), ...content, 0]);
}

function element(type: number, key: string, value: Iterable<number>): Uint8Array {
  return Uint8Array.from([type, ...Buffer.from(`${key}\0`), ...value]);
}

function text(value: string): number[] {
  return [...int32(value.length + 1), ...Buffer.from(`${value}\0`)];
}

function int32(value: number): number[] {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return [...bytes];
}

function nested(levels: number): Uint8Array {
  let document = bson();
  for (let level = 1; level < levels; level++) document = bson(element(3, 'a', document));
  return document;
}
