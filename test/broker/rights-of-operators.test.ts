import { expect, test } from 'vitest';
import { createHoldfast, type Holdfast } from '#holdfast/api/holdfast.js';
import type { NeedsToken } from '#holdfast/model/access-token.js';
import { seededRandom } from '#holdfast/model/random.js';
import { connectTo, startBroker } from '../helpers/brokers.ts';
import { ManualClock } from '../helpers/manual-clock.ts';

test('overview, events and backup show and give no more than the scopes allow', async () => {
  const clock = new ManualClock();
  const broker = await startBroker(clock);
  let seed = 1;
  const connect = async (needsToken: NeedsToken, token?: string): Promise<Holdfast> => {
    const random = seededRandom(seed++);
    const client = await connectTo(broker, { clock, random, needsToken, token });
    return createHoldfast(client, async () => {});
  };
  const trusted = await connect('never');
  const { token } = await trusted.tokens.create({ label: 'reader', scopes: ['channel:mail:read'] });
  const reader = await connect('always', token);
  await trusted.channel<number>('secret').produce(1);
  const { id } = await trusted.channel<number>('mail').produce(2);

  expect((await reader.admin.overview()).map(({ channel }) => channel)).toEqual(['mail']);
  expect((await trusted.admin.overview()).map(({ channel }) => channel)).toEqual(['mail', 'secret']);
  const event = (await reader.events({ after: 0 }).next()).value;
  expect(event).toMatchObject({ channel: 'mail', id });
  await expect(reader.events({ channel: 'secret' }).next()).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(reader.admin.pause('mail')).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(reader.backup().next()).rejects.toMatchObject({ code: 'FORBIDDEN' });
  expect(await trusted.backup().next()).toMatchObject({ done: false });
});
