import { type as arktype } from 'arktype';
import * as v from 'valibot';
import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
  type Channel,
  type ChannelOptions,
  type ConsumeOptions,
  deadLetter,
  type Handler,
  type HandlerContext,
  type Holdfast,
  type ProduceOptions,
  type Receipt,
  retry,
  type Schedule,
  snooze,
} from 'holdfast';

/** Compiled and not run: what must not compile says so. */
function compiled(_check: (hf: Holdfast) => unknown): void {}

test('a channel takes messages of its type only', () => {
  compiled((hf) => {
    const mails = hf.channel<{ to: string; size?: number }>('mails');
    expectTypeOf(mails.produce({ to: 'ann' })).resolves.toEqualTypeOf<Receipt>();
    void mails.produceAll([{ to: 'ann' }, { to: 'bob', size: 5 }]);
    // @ts-expect-error A field is missing.
    void mails.produce({});
    // @ts-expect-error A field is of another type.
    void mails.produce({ to: 5 });
    // @ts-expect-error One of them is of another type.
    void mails.produceAll([{ to: 'ann' }, 'bob']);
    // @ts-expect-error A name is not optional.
    hf.channel<string>();
  });
});

test('a schedule takes messages of the type of its channel only, and one rule', () => {
  compiled((hf) => {
    const mails = hf.channel<{ to: string }>('mails');
    void mails.schedule('key', { cron: '0 9 * * *', timeZone: 'UTC' }, { to: 'ann' }, { overlap: 'skip', priority: 1 });
    void hf.schedules.upsert('key', { every: '5m' }, { channel: mails, message: { to: 'ann' }, limit: 3 });
    expectTypeOf(hf.schedules.get<{ to: string }>('key')).resolves.toEqualTypeOf<
      Schedule<{ to: string }> | undefined
    >();
    // @ts-expect-error The message is of another type.
    void mails.schedule('key', { every: '5m' }, { to: 5 });
    // @ts-expect-error The message is of another type.
    void hf.schedules.upsert('key', { every: '5m' }, { channel: mails, message: 'ann' });
    // @ts-expect-error Two rules.
    void mails.schedule('key', { every: '5m', cron: '* * * * *' }, { to: 'ann' });
    // @ts-expect-error The rule says when.
    void mails.schedule('key', { every: '5m' }, { to: 'ann' }, { dueAt: 5 });
    // @ts-expect-error No such policy.
    void mails.schedule('key', { every: '5m' }, { to: 'ann' }, { missed: 'some' });
  });
});

test('a handler gets messages of that type and gives the result that request() resolves with', () => {
  compiled(async (hf) => {
    const squares = hf.channel<number, string>('squares');
    await squares.consume((number, context) => {
      expectTypeOf(number).toEqualTypeOf<number>();
      expectTypeOf(context.attempt).toEqualTypeOf<number>();
      expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>();
      return `${number ** 2}`;
    });
    expectTypeOf(await squares.request(5)).toEqualTypeOf<string>();
    expectTypeOf(await squares.result('id')).toEqualTypeOf<string>();
    // @ts-expect-error The result is of another type.
    await squares.consume((number) => number ** 2);
    // @ts-expect-error The message is of another type.
    await squares.consume((text: string) => text);
    expectTypeOf((await squares.list('dead'))[0]?.message).toEqualTypeOf<number | undefined>();
    // @ts-expect-error There is no such state.
    await squares.list('done');
  });
});

test("a handler's scope is what the option opens", () => {
  compiled(async (hf) => {
    class Place {
      readonly open = true;
    }
    const mails = hf.channel<{ to: string }, string>('mails');
    await mails.consume(
      ({ to }, { scope, attempt }) => {
        expectTypeOf(scope).toEqualTypeOf<Place>();
        return `${to} ${attempt}`;
      },
      { scope: () => new Place(), concurrency: 5 },
    );
    await mails.consume((_mail, { scope }) => scope.to, {
      scope: async (mail: { to: string }, { id }: HandlerContext) => ({ ...mail, id }),
    });
    await mails.consumeBatch((_batch, { scope }) => expectTypeOf(scope).toEqualTypeOf<Place>() as never, {
      scope: () => new Place(),
    });
    await mails.consume((_mail, { scope }) => expectTypeOf(scope).toBeUnknown() as never, {
      // A parameter without a type of its own gets one behind the handler, too late for what is returned.
      scope: (mail) => mail.to,
    });
    // @ts-expect-error Without the option there is none.
    await mails.consume((_mail, { scope }) => String(scope), { concurrency: 5 });
    // @ts-expect-error It has no such field.
    await mails.consume((_mail, { scope }) => scope.shut, { scope: () => new Place() });
    // @ts-expect-error The message is of another type.
    await mails.consume(() => '', { scope: (text: string) => text });
    // @ts-expect-error The result is of another type.
    await mails.consume(() => 5, { scope: () => new Place() });
  });
});

test('a handler may return an outcome instead of a result', () => {
  compiled(async (hf) => {
    const squares = hf.channel<number, string>('squares');
    const handler: Handler<number, string> = (number) => {
      if (number === 0) return retry({ delay: '5s' });
      if (number === 1) return deadLetter('no');
      return number === 2 ? snooze('1m') : 'done';
    };
    await squares.consume(handler);
    // @ts-expect-error A reason is not optional.
    deadLetter();
    // @ts-expect-error A week is no unit.
    snooze('1w');
  });
});

test('options are known by name and type', () => {
  compiled(async (hf) => {
    const options: ChannelOptions<undefined> = {
      attempts: 3,
      backoff: ['1s', 5],
      process: 'exactlyOnce',
      timeout: false,
    };
    const mails = hf.channel<string>('mails', options);
    // @ts-expect-error There is no such option.
    hf.channel<string>('mails', { attemps: 3 });
    // @ts-expect-error There is no such mode.
    hf.channel<string>('mails', { process: 'once' });
    // @ts-expect-error There is no such option.
    await mails.produce('a', { timout: 5 } satisfies ProduceOptions);
    // @ts-expect-error A duration has a unit.
    await mails.produce('a', { delay: '5' });
    // @ts-expect-error There is no such option.
    await mails.consume(() => {}, { workers: 5 } satisfies ConsumeOptions);
  });
});

test('a schema gives the type of what goes in, and of what comes out', () => {
  compiled(async (hf) => {
    const schema = z.object({ at: z.string().transform((text) => new Date(text)), size: z.number().default(1) });
    const events = hf.channel('events', { schema });
    expectTypeOf(events).toEqualTypeOf<
      Channel<{ at: string; size?: number | undefined }, { at: Date; size: number }, unknown>
    >();
    await events.consume(({ at, size }) => {
      expectTypeOf(at).toEqualTypeOf<Date>();
      expectTypeOf(size).toEqualTypeOf<number>();
    });
    // @ts-expect-error What goes in is a text.
    await events.produce({ at: new Date(0) });
    const valibot = hf.channel('valibot', { schema: v.object({ to: v.string() }) });
    await valibot.consume(({ to }) => expectTypeOf(to).toEqualTypeOf<string>());
    const ark = hf.channel('arktype', { schema: arktype({ to: 'string' }) });
    await ark.consume(({ to }) => expectTypeOf(to).toEqualTypeOf<string>());
    // @ts-expect-error The schema wants a text.
    await ark.produce({ to: 5 });
  });
});

test('a token is shown by create() only', () => {
  compiled(async (hf) => {
    const made = await hf.tokens.create({ label: 'ci', scopes: ['channel:mail:produce'], expiresIn: '90d' });
    expectTypeOf(made.token).toEqualTypeOf<string>();
    const [listed] = await hf.tokens.list();
    expectTypeOf(listed?.state).toEqualTypeOf<'live' | 'expired' | 'revoked' | undefined>();
    // @ts-expect-error Nobody can show it again.
    expectTypeOf(listed?.token);
    // @ts-expect-error It says what it is for.
    await hf.tokens.create({ scopes: [] });
  });
});

test('tx.produce takes messages of the type of its channel', () => {
  compiled(async (hf) => {
    const mails = hf.channel<string>('mails');
    await hf.channel<number>('orders').consume((order, { tx }) => {
      tx.produce(mails, `order ${order}`, { delay: '5s' });
      // @ts-expect-error The other channel takes texts.
      tx.produce(mails, order);
    });
  });
});
