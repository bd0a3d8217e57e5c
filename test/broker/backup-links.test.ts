import { expect, test } from 'vitest';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import { Client } from '#holdfast/client/client.js';
import type { Link } from '#holdfast/model/link.js';
import { seededRandom } from '#holdfast/model/random.js';
import { localLink } from '#holdfast/wire/local-link.js';
import type { Broker } from '#holdfast/broker/broker.js';
import { startBroker } from '../helpers/brokers.ts';
import { ManualClock } from '../helpers/manual-clock.ts';

interface Connected {
  readonly hf: Holdfast;
  readonly client: Client;
  /** The broker's ends of its links, the newest last. */
  readonly links: readonly Link[];
}

async function connect(broker: Broker, clock: ManualClock, seed: number): Promise<Connected> {
  const links: Link[] = [];
  const client = new Client({
    connect: async () => {
      const ends = localLink(clock);
      broker.accept(ends.broker, { lingerMs: 30_000, needsToken: 'never' });
      links.push(ends.broker);
      return ends.client;
    },
    host: 'host',
    clock,
    random: seededRandom(seed),
  });
  await client.open();
  return { hf: createHoldfast(client, async () => {}), client, links };
}

test('a backup ends with its link, and the client is told to begin again', async () => {
  const clock = new ManualClock();
  const broker = await startBroker(clock);
  const { hf, links } = await connect(broker, clock, 1);
  await hf.channel<Uint8Array>('files').produce(new Uint8Array(3_000_000));
  await hf.channel<Uint8Array>('files').produce(new Uint8Array(3_000_000));
  const backup = hf.backup();
  await backup.next();
  links.at(-1)?.close();
  const next = backup.next();
  const refused = expect(next).rejects.toMatchObject({ code: 'CLOSED' });
  await clock.advance(1_000);
  await refused;
  expect(await hf.backup().next()).toMatchObject({ done: false });
});

test('more than four backups at the same time are refused, until one of them ends', async () => {
  const clock = new ManualClock();
  const broker = await startBroker(clock);
  const clients: Connected[] = [];
  for (let i = 0; i < 5; i++) clients.push(await connect(broker, clock, i + 1));
  const [first, , , , last] = clients as [Connected, Connected, Connected, Connected, Connected];
  await first.hf.channel<Uint8Array>('files').produce(new Uint8Array(3_000_000));
  const backups = clients.slice(0, 4).map(({ hf }) => hf.backup());
  for (const backup of backups) await backup.next();
  await expect(last.hf.backup().next()).rejects.toMatchObject({ code: 'TOO_MANY' });
  first.links.at(-1)?.close();
  await clock.advance(1);
  expect(await last.hf.backup().next()).toMatchObject({ done: false });
});

test('a backup that is stopped by a request instead of a note is stopped, and the request answered', async () => {
  const clock = new ManualClock();
  const broker = await startBroker(clock);
  const { hf, client } = await connect(broker, clock, 1);
  await hf.channel<Uint8Array>('files').produce(new Uint8Array(3_000_000));
  const ask = (part: number, stop: boolean): ReturnType<Client['request']> =>
    client.request({ kind: 'backup', id: 7, part, stop });
  expect(await ask(0, false)).toMatchObject({ kind: 'value', value: { isEnd: false } });
  expect(await ask(1, true)).toEqual({ kind: 'done' });
  expect(await ask(1, false)).toMatchObject({ kind: 'refused', code: 'CLOSED' });
  // Requests after it are served: the broker counts them all.
  expect(await hf.channel<number>('numbers').produce(1)).toMatchObject({ deduplicated: false });
});
