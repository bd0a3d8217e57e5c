import { describe, expect, test } from 'vitest';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import { Client } from '#holdfast/client/client.js';
import type { Link } from '#holdfast/model/link.js';
import { seededRandom } from '#holdfast/model/random.js';
import { localLink } from '#holdfast/wire/local-link.js';
import { TestClock } from 'holdfast/testing';
import { startBroker } from '../helpers/brokers.ts';

/** The links of one client. */
interface Wire {
  readonly hf: Holdfast;
  /** From now on nothing arrives at the client over its present link. */
  readonly deafen: () => void;
  /** From now on nothing that the client says arrives over its present link. */
  readonly mute: () => void;
  /** How many frames it has sent. */
  readonly sent: () => number;
  /** Ends the present link; the client makes another. */
  readonly cut: () => void;
}

interface Rig {
  readonly clock: TestClock;
  readonly connect: () => Promise<Wire>;
}

async function start(): Promise<Rig> {
  const clock = new TestClock();
  const random = seededRandom(5);
  const broker = await startBroker(clock);
  const connect = async (): Promise<Wire> => {
    let deafen = (): void => {};
    let mute = (): void => {};
    let sent = 0;
    let cut = (): void => {};
    const link = async (): Promise<Link> => {
      const ends = localLink(clock);
      broker.accept(ends.broker, { lingerMs: Infinity, needsToken: 'never' });
      let isDeaf = false;
      let isMute = false;
      mute = () => {
        isMute = true;
      };
      deafen = () => {
        isDeaf = true;
      };
      cut = () => ends.broker.close();
      const { client } = ends;
      return {
        send: (frame) => {
          sent += 1;
          if (!isMute) client.send(frame);
        },
        close: () => client.close(),
        hold: (waiting) => client.hold(waiting),
        flow: (open) => client.flow(open),
        isCongested: false,
        open: ({ frame, closed }) => client.open({ closed, frame: (bytes) => isDeaf || frame(bytes) }),
      };
    };
    const client = new Client({ connect: link, host: 'host', clock, random });
    await client.open();
    const hf = createHoldfast(client, async () => {});
    return { hf, deafen: () => deafen(), mute: () => mute(), sent: () => sent, cut: () => cut() };
  };
  return { clock, connect };
}

describe('a client that reconnects', () => {
  test('gets the end of a request whose notice was lost with the link', async () => {
    const { clock, connect } = await start();
    const [asking, working] = [await connect(), await connect()];
    const result = asking.hf.channel<number, number>('double').request(21);
    await clock.settle();
    asking.deafen();
    await working.hf.channel<number, number>('double').consume((number) => number * 2);
    await clock.settle();
    asking.cut();
    await clock.advance('1s');
    expect(await result).toBe(42);
  });

  test('gets the end of a request that waited for room while the link was renewed', async () => {
    const { clock, connect } = await start();
    const [asking, working] = [await connect(), await connect()];
    const options = { maxBacklog: 1, onFull: 'wait' } as const;
    const channel = asking.hf.channel<number, number>('double', options);
    await channel.produce(1);
    const result = channel.request(21);
    await clock.settle();
    asking.cut();
    await clock.advance('1s');
    await working.hf.channel<number, number>('double', options).consume((number) => number * 2);
    await clock.advance('1s');
    expect(await result).toBe(42);
  });

  test('gets the end of a request that a later one joined, both having waited for room while the link was renewed', async () => {
    const { clock, connect } = await start();
    const [asking, working] = [await connect(), await connect()];
    const options = { maxBacklog: 1, onFull: 'wait', process: 'exactlyOnce' } as const;
    const channel = asking.hf.channel<number, number>('double', options);
    await channel.produce(1);
    const first = channel.request(21);
    await clock.settle();
    asking.cut();
    await clock.advance('1s');
    const second = channel.request(21);
    await clock.settle();
    await working.hf.channel<number, number>('double', options).consume((number) => number * 2);
    await clock.advance('1s');
    expect(await Promise.all([first, second])).toEqual([42, 42]);
  });

  test.each(['before', 'after'])(
    'hears of room that came %s the answer that there is none came again',
    async (when) => {
      const { clock, connect } = await start();
      const [asking, working] = [await connect(), await connect()];
      const options = { maxBacklog: 1, onFull: 'wait' } as const;
      const channel = asking.hf.channel<number>('narrow', options);
      await channel.produce(1);
      asking.deafen();
      const waiting = channel.produce(2);
      await clock.settle();
      const makeRoom = (): Promise<unknown> => working.hf.channel<number>('narrow', options).consume(() => {});
      if (when === 'before') await makeRoom();
      await clock.settle();
      asking.cut();
      await clock.advance('1s');
      if (when === 'after') await makeRoom();
      await clock.advance('1s');
      expect(await waiting).toMatchObject({ deduplicated: false });
    },
  );

  test('is told that a channel is wanted, although that was said while its link was deaf', async () => {
    const { clock, connect } = await start();
    const [watching, producing] = [await connect(), await connect()];
    const wanted = watching.hf.channel<number>('mail').wanted();
    await clock.settle();
    watching.deafen();
    await producing.hf.channel<number>('mail').produce(1);
    await clock.settle();
    watching.cut();
    await clock.advance('1s');
    await wanted;
  });

  test('does not undo retain() with the options that its channel was opened with', async () => {
    const { clock, connect } = await start();
    const { hf, cut } = await connect();
    const channel = hf.channel<number>('mail', { retain: { completed: { count: 3 } } });
    await channel.retain({ completed: { count: 1 } });
    cut();
    await clock.advance('1s');
    await channel.consume(() => {});
    await channel.produceAll([1, 2, 3]);
    await clock.settle();
    expect(await channel.inspect()).toMatchObject({ completed: 1, totals: { completed: 3 } });
  });

  test('keeps nobody from forgetting a message whose end it has heard when the link broke', async () => {
    const { clock, connect } = await start();
    const [asking, working] = [await connect(), await connect()];
    const result = asking.hf.channel<number, number>('double').request(21);
    await clock.settle();
    asking.mute();
    const double = working.hf.channel<number, number>('double');
    await double.consume((number) => number * 2);
    expect(await result).toBe(42);
    await clock.settle();
    asking.cut();
    await clock.advance('1s');
    await double.retain({ completed: { count: 0 } });
    await clock.settle();
    expect((await double.inspect()).completed).toBe(0);
  });
});

describe('channel()', () => {
  test('says nothing to the broker when the session has a name for the channel with these rules', async () => {
    const { clock, connect } = await start();
    const { hf, sent } = await connect();
    await hf.channel('mail', { attempts: 3 }).produce(1);
    await clock.settle();
    const before = sent();
    for (let i = 0; i < 1_000; i++) hf.channel('mail', { attempts: 3 });
    await clock.settle();
    expect(sent()).toBe(before);
    await hf.channel('mail', { attempts: 3, retain: { completed: { count: 7 } } }).produce(2);
    await clock.settle();
    expect((await hf.channel('mail').inspect()).settings.completed.count).toBe(7);
  });
});

test('a link that comes when its client has been closed is closed', async () => {
  const clock = new TestClock();
  const { client: link } = localLink(clock);
  let isClosed = false;
  let arrive = (_link: Link): void => {};
  const client = new Client({
    connect: () => new Promise((resolve) => (arrive = resolve)),
    host: 'host',
    clock,
    random: seededRandom(5),
  });
  const opening = expect(client.open()).rejects.toMatchObject({ code: 'CLOSED' });
  client.close();
  arrive({
    ...link,
    close: () => {
      isClosed = true;
      link.close();
    },
  });
  await opening;
  expect(isClosed).toBe(true);
});
