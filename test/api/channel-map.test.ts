import { inspect } from 'node:util';
import { type ChannelMap, defineChannel, type Holdfast, type HoldfastWith, open } from 'holdfast';
import { createTestHoldfast, expectProduced, runOne } from 'holdfast/testing';
import { expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';

interface Email {
  readonly to: string;
}

const channels = {
  emailSend: defineChannel<Email, string>('email/send', { attempts: 1 }),
  orderPlaced: defineChannel('order/placed', {
    schema: z.object({ id: z.number(), item: z.string().default('rope') }),
  }),
};

async function openBoth(): Promise<HoldfastWith<typeof channels>> {
  const hf = await open('memory:', { channels });
  onTestFinished(() => hf.close());
  return hf;
}

/** What the compiler would refuse. */
const loose = (definitions: unknown): ChannelMap => definitions as ChannelMap;

test('open() makes each channel of its definitions when it is first asked for, and once', async () => {
  const hf = await openBoth();
  await hf.channels.emailSend.produce({ to: 'ann' });
  expect(await hf.channelNames()).toEqual(['email/send']);
  expect(hf.channels.emailSend).toBe(hf.channels.emailSend);
  expect(Object.keys(hf.channels)).toEqual(['emailSend', 'orderPlaced']);
  expect('orderPlaced' in hf.channels).toBe(true);
  expect('orderPaid' in hf.channels).toBe(false);
});

test('channels of definitions have their names, options and schemas', async () => {
  const hf = await openBoth();
  const { emailSend, orderPlaced } = hf.channels;
  await orderPlaced.consume(({ item }, { tx }) => tx.produce(emailSend, { to: `who wants ${item}` }));
  await orderPlaced.request({ id: 1 });
  await expectProduced(emailSend, { to: 'who wants rope' });
  expect(await runOne(emailSend, () => Promise.reject(new Error('away')))).toMatchObject({ state: 'dead' });
  await expect(orderPlaced.produce({ id: '1' } as never)).rejects.toMatchObject({ code: 'INVALID_MESSAGE' });
});

test('instances have channels of their own of the same definitions', async () => {
  const [one, two] = await Promise.all([openBoth(), openBoth()]);
  await one.channels.emailSend.produce({ to: 'ann' });
  expect((await one.channels.emailSend.inspect()).ready).toBe(1);
  expect((await two.channels.emailSend.inspect()).ready).toBe(0);
});

test('createTestHoldfast() takes definitions as open() does', async () => {
  await using kit = await createTestHoldfast({ channels });
  await kit.holdfast.channels.emailSend.produce({ to: 'ann' }, { delay: '1h' });
  await kit.clock.advance('1h');
  expect(await runOne(kit.holdfast.channels.emailSend, ({ to }) => to)).toMatchObject({ result: 'ann' });
});

test('channels of an instance refuse a name that has no definition', async () => {
  const hf = await openBoth();
  const message = 'Cannot find the channel "emialSend": known are emailSend, orderPlaced';
  // @ts-expect-error There is no such channel.
  expect(() => hf.channels.emialSend).toThrow(new TypeError(message));
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`c${i}`, defineChannel(`c${i}`)]));
  const large = await open('memory:', { channels: many });
  onTestFinished(() => large.close());
  expect(() => large.channels['c30']).toThrow(/: known are c0, c1, .*, c19 and 10 more$/);
  const plain: Holdfast = await open('memory:');
  onTestFinished(() => plain.close());
  expect(() => (plain as typeof hf).channels.emailSend).toThrow(
    new TypeError('Cannot find the channel "emailSend": give its definition to open as one of "channels"'),
  );
});

test('channels of an instance can be awaited, shown and made a text, and cannot be replaced', async () => {
  const hf = await openBoth();
  expect(await Promise.resolve(hf.channels)).toBe(hf.channels);
  expect(inspect(hf.channels)).toContain('emailSend');
  expect(`${hf.channels as unknown as string}`).toBe('[object Object]');
  expect(JSON.parse(JSON.stringify(hf.channels))).toMatchObject({ emailSend: { name: 'email/send' } });
  const target = hf.channels as Record<string, unknown>;
  expect(() => (target['emailSend'] = 5)).toThrow(TypeError);
  expect(() => (target['other'] = 5)).toThrow(TypeError);
});

test('defineChannel() refuses at once what channel() would refuse, and cannot be changed afterwards', () => {
  expect(() => defineChannel('')).toThrow(RangeError);
  expect(() => defineChannel(5 as never)).toThrow(TypeError);
  expect(() => defineChannel('a', { attempts: 0 })).toThrow(RangeError);
  expect(() => defineChannel('a', { atempts: 5 } as never)).toThrow(/Cannot use "atempts" as an option/);
  const options = { attempts: 3 };
  const definition = defineChannel('a', options);
  options.attempts = 0;
  expect(definition).toEqual({ name: 'a', options: { attempts: 3 } });
  expect(Object.isFrozen(definition) && Object.isFrozen(definition.options)).toBe(true);
});

test.each([
  ['a text', 'email/send', 'Cannot use email/send as "channels" options: they must be an object'],
  ['a name alone', { a: 'email/send' }, 'Cannot use "a" in "channels": make it with defineChannel'],
  ['nothing', { a: undefined }, 'Cannot use "a" in "channels": make it with defineChannel'],
  ['no options', { a: { name: 'a', options: null } }, 'Cannot use "a" in "channels": make it with defineChannel'],
  [
    'one name twice',
    { a: channels.emailSend, b: defineChannel('email/send') },
    'Cannot use "a" and "b" in "channels" both: they define "email/send"',
  ],
  [
    'what JSON asks for',
    { toJSON: channels.emailSend },
    'Cannot use "toJSON" in "channels": JavaScript gives it a meaning',
  ],
])('open() refuses %s as definitions', async (_, definitions, message) => {
  await expect(open('memory:', { channels: loose(definitions) })).rejects.toThrow(new TypeError(message));
});

test('open() knows definitions by their form, whichever copy of the package made them', async () => {
  const hf = await open('memory:', { channels: { plain: { name: 'plain', options: { attempts: 1 } } } });
  onTestFinished(() => hf.close());
  await hf.channels.plain.produce(5);
  expect(await hf.channelNames()).toEqual(['plain']);
});
