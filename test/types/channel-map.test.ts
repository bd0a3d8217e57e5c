import { afterAll, beforeAll, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
  type Channel,
  type ChannelDefinition,
  type Channels,
  defineChannel,
  type Handler,
  type HandlerOf,
  type Holdfast,
  type HoldfastWith,
  open,
} from 'holdfast';
import { createTestHoldfast } from 'holdfast/testing';
import { compile, type Compiled } from '../helpers/compile.ts';
import { type LanguageService, openInEditor } from '../helpers/language-service.ts';

interface Email {
  readonly to: string;
}

interface Sent {
  readonly at: number;
}

const Order = z.object({ id: z.number(), at: z.string().transform((text) => new Date(text)) });

const channels = {
  emailSend: defineChannel<Email, Sent>('email/send', { attempts: 8 }),
  orderPlaced: defineChannel('order/placed', { schema: Order }),
  orderPriced: defineChannel<typeof Order, number>('order/priced', { schema: Order }),
};

type OrderIn = z.input<typeof Order>;
type OrderOut = z.output<typeof Order>;

/** Compiled and not run. */
function compiledOnly(_check: () => unknown): void {}

test('a definition has the types of the channel that is made of it', () => {
  expectTypeOf(channels.emailSend).toEqualTypeOf<ChannelDefinition<Email, Email, Sent>>();
  expectTypeOf(channels.orderPlaced).toEqualTypeOf<ChannelDefinition<OrderIn, OrderOut>>();
  expectTypeOf<Channels<typeof channels>>().toEqualTypeOf<{
    readonly emailSend: Channel<Email, Email, Sent>;
    readonly orderPlaced: Channel<OrderIn, OrderOut>;
    readonly orderPriced: Channel<OrderIn, OrderOut, number>;
  }>();
  expectTypeOf<HandlerOf<typeof channels.emailSend>>().toEqualTypeOf<Handler<Email, Sent>>();
  expectTypeOf<HandlerOf<typeof channels.orderPriced>>().toEqualTypeOf<Handler<OrderOut, number>>();
});

test('open() gives an instance with the channels of its definitions', () => {
  compiledOnly(async () => {
    const hf = await open('memory:', { channels });
    expectTypeOf(hf).toEqualTypeOf<HoldfastWith<typeof channels>>();
    expectTypeOf(hf.channels.emailSend.request({ to: 'ann' })).resolves.toEqualTypeOf<Sent>();
    await hf.channels.orderPriced.consume(({ at }) => at.getTime());
    const kit = await createTestHoldfast({ channels });
    expectTypeOf(kit.holdfast).toEqualTypeOf<HoldfastWith<typeof channels>>();
  });
});

test('open() without definitions gives an instance like any other, and the other kind stands for it', () => {
  expectTypeOf(open('memory:')).resolves.toEqualTypeOf<Holdfast>();
  expectTypeOf<Awaited<ReturnType<typeof open>>>().toEqualTypeOf<Holdfast>();
  expectTypeOf<HoldfastWith<typeof channels>>().toExtend<Holdfast>();
  // A part of a program that needs some of the channels takes an instance, or channels, that have more.
  type Some = Pick<typeof channels, 'emailSend'>;
  expectTypeOf<HoldfastWith<typeof channels>>().toExtend<HoldfastWith<Some>>();
  expectTypeOf<HoldfastWith<Some>>().not.toExtend<HoldfastWith<typeof channels>>();
});

/** Each statement must not compile, for this reason. */
const MISUSES = {
  'a message with a field that is unknown': [
    `await hf.channels.emailSend.produce({ too: 'ann' });`,
    `Object literal may only specify known properties, and 'too' does not exist in type 'Email'.`,
  ],
  'a message with a field of another type': [
    'await hf.channels.emailSend.produce({ to: 5 });',
    `Type 'number' is not assignable to type 'string'.`,
  ],
  'a message that the schema does not take': [
    'await hf.channels.orderPlaced.produce({ id: 1, at: new Date(0) });',
    `Type 'Date' is not assignable to type 'string'.`,
  ],
  'a channel that is not defined': [
    `await hf.channels.emialSend.produce({ to: 'ann' });`,
    `Property 'emialSend' does not exist on type 'Channels<{ emailSend: ChannelDefinition<Email, Email, Sent>; orderPlaced: ChannelDefinition<{ id: number; at: string; }, { id: number; at: Date; }, unknown>; }>'. Did you mean 'emailSend'?`,
  ],
  'a handler that returns another result': [
    'await hf.channels.emailSend.consume(() => 5);',
    `Type 'number' is not assignable to type 'HandlerOutcome | Promise<HandlerOutcome | Sent> | Sent'.`,
  ],
  'a handler in a file of its own that reads a field that is unknown': [
    'export const send: HandlerOf<typeof channels.emailSend> = ({ too }) => ({ at: 5 });',
    `Property 'too' does not exist on type 'Email'.`,
  ],
  'a result that is taken for another one': [
    `export const text: string = await hf.channels.emailSend.request({ to: 'ann' });`,
    `Type 'Sent' is not assignable to type 'string'.`,
  ],
  'a channel that is replaced': [
    'hf.channels.emailSend = hf.channels.emailSend;',
    `Cannot assign to 'emailSend' because it is a read-only property.`,
  ],
  'channels of an instance that has none': [
    `(await open('memory:')).channels;`,
    `Property 'channels' does not exist on type 'Holdfast'. Did you mean 'channel'?`,
  ],
  'a name in place of a definition': [
    `await open('memory:', { channels: { emailSend: 'email/send' } });`,
    `Type 'string' is not assignable to type 'ChannelDefinition<unknown, unknown, unknown>'.`,
  ],
  'an option that is unknown': [
    `defineChannel<Email>('email/send', { atempts: 8 });`,
    `Object literal may only specify known properties, but 'atempts' does not exist in type 'ChannelOptions<undefined>'. Did you mean to write 'attempts'?`,
  ],
} as const;

const misuses = Object.entries(MISUSES).map(([name, [code, reason]], i) => ({
  name,
  code,
  reason,
  file: `misuse-${i}`,
}));

const HEAD = `import { type Channels, defineChannel, type HandlerOf, open } from 'holdfast';
import { z } from 'zod';
interface Email { readonly to: string }
interface Sent { readonly at: number }
const Order = z.object({ id: z.number(), at: z.string().transform((text) => new Date(text)) });
export const channels = {
  emailSend: defineChannel<Email, Sent>('email/send', { attempts: 8 }),
  orderPlaced: defineChannel('order/placed', { schema: Order }),
};
const hf = await open('memory:', { channels });
export type All = [Channels<typeof channels>, HandlerOf<typeof channels.emailSend>];
`;

const USE = `${HEAD}
export const plain = await open('memory:');
export const sent = await hf.channels.emailSend.request({ to: 'ann' });
await hf.channels.orderPlaced.consume((order) => order.id);
export const handler: HandlerOf<typeof channels.emailSend> = (email) => ({ at: email.to.length });
`;

let compiled: Compiled;
let editor: LanguageService | undefined;

beforeAll(async () => {
  const statements = misuses.map(({ file, code }) => [file, `${HEAD}${code}\n`]);
  compiled = await compile({ ...Object.fromEntries(statements), use: USE });
  editor = await openInEditor(`${compiled.folder}/use.ts`);
}, 60_000);

afterAll(async () => {
  await editor?.close();
  await compiled.delete();
});

test('definitions compile in a program under strict options', () => {
  expect(compiled.complaintsOf('use')).toEqual([]);
});

test.each(misuses)('$name does not compile, and the compiler says why', ({ file, reason }) => {
  const complaints = compiled.complaintsOf(file);
  expect(complaints).toHaveLength(1);
  const at = compiled.complaints.indexOf(complaints[0] as string);
  const details = compiled.complaints.slice(at + 1).findIndex((line) => !line.startsWith(' '));
  const whole = compiled.complaints.slice(at, details === -1 ? undefined : at + 1 + details);
  expect(whole.map((line) => line.replace(/^.*: error TS\d+: /, '').trim())).toContain(reason);
});

test.each([
  ['hf.channels.emailSend', '(property) emailSend: Channel<Email, Email, Sent>'],
  [
    'hf.channels.orderPlaced',
    '(property) orderPlaced: Channel<{ id: number; at: string; }, { id: number; at: Date; }, unknown>',
  ],
  ['emailSend: defineChannel', '(alias) function defineChannel<Email, Sent>(name: string, options?'],
  ['const plain', 'const plain: Holdfast'],
  ['const sent', 'const sent: Sent'],
  ['consume((order', '(parameter) order: { id: number; at: Date; }'],
  ['const handler', 'const handler: Handler<Email, Sent>'],
  ['= (email', '(parameter) email: Email'],
])('an editor shows over "%s" what one would write by hand', async (text, shown) => {
  const hover = await editor?.hover(text);
  expect(hover?.slice(0, shown.length)).toBe(shown);
});
