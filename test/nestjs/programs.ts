/** Applications of NestJS, as texts: they are compiled with decorators, which the tests themselves are not. */
import { beforeAll } from 'vitest';
import { type App, newApp } from '../helpers/app.ts';
import { STRICT } from '../helpers/compile.ts';
import { endsBehindFile } from '../network/conformance.ts';

const CONFIGURATION = {
  compilerOptions: { ...STRICT, experimentalDecorators: true, emitDecoratorMetadata: true, skipLibCheck: true },
  include: ['*.ts'],
};

/** Compiles a program before the first test of the file. */
export function compiled(code: string): { readonly complaints: readonly string[]; pathOf(file: string): string } {
  const endBehind = endsBehindFile();
  let app: App;
  let complaints: readonly string[] = [];
  beforeAll(async () => {
    app = newApp({ 'program.ts': code, 'tsconfig.json': JSON.stringify(CONFIGURATION) }, endBehind, 'injection');
    complaints = await app.compile();
  });
  return {
    get complaints() {
      return complaints;
    },
    pathOf: (file) => app.pathOf(file),
  };
}

/** A shop: mails by a processor that lives as long as the application, orders by one that lives as long as a message. */
export const SHOP = `
import 'reflect-metadata';
import { createInterface } from 'node:readline';
import { Inject, Injectable, Module, type OnModuleDestroy, Scope } from '@nestjs/common';
import { NestFactory, REQUEST } from '@nestjs/core';
import { HealthCheckService, TerminusModule } from '@nestjs/terminus';
import type { Channel, HandlerContext, MessageHappened } from 'holdfast';
import { HoldfastHealthIndicator, HoldfastModule, InjectChannel, type MessageRequest, OnChannelEvent, Process, Processor } from 'holdfast/nestjs';

const say = (line: object): void => console.log(JSON.stringify(line));

interface Mail {
  to: string;
  /** How many attempts fail. */
  failures?: number;
  /** Waits for the line "go". */
  waits?: boolean;
}

interface Order {
  item: string;
}

let go = (): void => {};
const gone = new Promise<void>((resolve) => {
  go = resolve;
});

@Injectable()
class Database implements OnModuleDestroy {
  #isOpen = true;

  query(text: string): void {
    if (!this.#isOpen) throw new Error('The database is closed');
    say({ queried: text });
  }

  onModuleDestroy(): void {
    this.#isOpen = false;
    say({ closed: 'database' });
  }
}

/** In the module of the processor itself. */
@Injectable()
class Stamps implements OnModuleDestroy {
  #left: number | undefined = 1_000;

  take(): void {
    if (this.#left === undefined) throw new Error('The stamps are put away');
    this.#left -= 1;
  }

  onModuleDestroy(): void {
    this.#left = undefined;
    say({ closed: 'stamps' });
  }
}

@Processor('mails', { concurrency: 2 })
class MailProcessor {
  constructor(private readonly database: Database, private readonly stamps: Stamps) {}

  @Process()
  async handle(mail: Mail, { attempt }: HandlerContext): Promise<string> {
    say({ handling: mail.to, attempt });
    if (mail.waits === true) await gone;
    if (attempt <= (mail.failures ?? 0)) throw new Error('no such address');
    this.database.query(mail.to);
    this.stamps.take();
    return \`sent to \${mail.to} at attempt \${attempt}\`;
  }

  @OnChannelEvent('acked')
  async onAcked({ what, id }: MessageHappened): Promise<void> {
    say({ heard: what, id });
  }
}

@Injectable()
class Audit {
  @OnChannelEvent(['nacked', 'failed'], { channel: 'mails' })
  onFailure({ what, attempt, note }: MessageHappened): void {
    say({ audited: what, attempt, note });
    throw new Error('The audit is broken');
  }
}

let made = 0;

@Injectable({ scope: Scope.REQUEST })
class UnitOfWork {
  readonly number = ++made;

  constructor(@Inject(REQUEST) readonly request: MessageRequest<Order>) {}
}

@Processor('orders', { concurrency: 5 })
class OrderProcessor {
  constructor(private readonly unit: UnitOfWork, private readonly database: Database) {}

  @Process()
  async handle(order: Order, context: HandlerContext): Promise<object> {
    this.database.query(order.item);
    const { message, context: given } = this.unit.request;
    return { unit: this.unit.number, same: message === order && given.id === context.id };
  }

  async dispose(): Promise<void> {
    say({ disposed: this.unit.number });
  }
}

@Processor('pictures', { scope: Scope.REQUEST })
class PictureProcessor {
  #handled = 0;

  @Process()
  handle(): number {
    this.#handled += 1;
    return this.#handled;
  }
}

@Injectable()
class Counter {
  constructor(@InjectChannel('mails') readonly mails: Channel<Mail>) {}
}

@Module({ providers: [Database], exports: [Database] })
class DatabaseModule {}

@Module({
  imports: [DatabaseModule, HoldfastModule.registerChannel({ name: 'orders' }, { name: 'pictures' })],
  providers: [OrderProcessor, UnitOfWork, PictureProcessor],
})
class OrderModule {}

const channels = HoldfastModule.registerChannel({ name: 'mails', attempts: 2, backoff: 5 });

@Module({
  imports: [
    DatabaseModule,
    OrderModule,
    channels,
    TerminusModule.forRoot({ logger: false }),
    HoldfastModule.forRootAsync({
      imports: [DatabaseModule],
      inject: [Database],
      useFactory: async (database: Database) => {
        database.query('settings');
        const grace = process.env['GRACE'];
        return { url: process.env['URL']!, ...(grace !== undefined && { grace: grace as '1s' }) };
      },
    }),
  ],
  providers: [Stamps, MailProcessor, Audit, Counter],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'warn'] });
app.enableShutdownHooks();
createInterface({ input: process.stdin }).on('line', async (line) => {
  if (line === 'go') return go();
  const { health, ...mail } = JSON.parse(line) as Mail & { health?: true };
  if (health !== true) return say({ produced: await app.get(Counter).mails.produce(mail) });
  const indicator = app.get(HoldfastHealthIndicator);
  const checks = [async () => indicator.isHealthy('queue', { timeout: '2s' })];
  const result = await app.get(HealthCheckService).check(checks).catch((error) => error.getResponse());
  say({ health: result });
});
say({ ready: true });
`;

/** What an application may tell the module, case by case: each says what came of it. */
export const CASES = `
import 'reflect-metadata';
import { Inject, Injectable, Module, type ModuleMetadata, Scope } from '@nestjs/common';
import { type ContextId, ContextIdFactory } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { type Channel, type ChannelHappened, type Holdfast, open } from 'holdfast';
import {
  getChannelToken,
  getHoldfastToken,
  HoldfastHealthIndicator,
  HoldfastModule,
  type HoldfastModuleOptions,
  type HoldfastOptionsFactory,
  InjectChannel,
  InjectHoldfast,
  OnChannelEvent,
  Process,
  Processor,
} from 'holdfast/nestjs';

const memory = HoldfastModule.forRoot({ url: 'memory:' });
const numbers = HoldfastModule.registerChannel({ name: 'numbers' });

@Processor('numbers')
class Squares {
  @Process()
  handle(number: number): number {
    return number * number;
  }
}

@Injectable()
class Sender {
  constructor(@InjectChannel('numbers') readonly numbers: Channel<number, number, number>) {}
}

@Injectable()
class Settings implements HoldfastOptionsFactory {
  createHoldfastOptions(): HoldfastModuleOptions {
    return { url: 'memory:' };
  }
}

@Module({ providers: [Settings], exports: [Settings] })
class SettingsModule {}

@Processor('numbers', { connection: 'other' })
class Cubes {
  @Process()
  handle(number: number): number {
    return number ** 3;
  }
}

@Processor('numbers')
class Nothing {}

@Processor('numbers')
class Twice {
  @Process() first(): void {}
  @Process() second(): void {}
}

@Injectable()
class Nowhere {
  @OnChannelEvent('acked') hear(): void {}
}

@Processor('numbers', { scope: Scope.REQUEST })
class Fleeting {
  @Process() handle(): void {}
  @OnChannelEvent('acked') hear(): void {}
}

@Injectable()
class Homeless {
  @Process() handle(): void {}
}

const ended: string[] = [];
let tenants = 0;

@Processor('tenants')
@Injectable({ scope: Scope.REQUEST, durable: true })
class OfTenant {
  readonly #number = ++tenants;

  @Process() handle(): number {
    return this.#number;
  }

  dispose(): void {
    ended.push('disposed');
  }
}

@Processor('numbers', { concurrency: 0 })
class Idle {
  @Process() handle(): void {}
}

export class Wrong {
  // @ts-expect-error A handler is given a context beside its message.
  @Process() handle(_message: string, _attempt: number): void {}

  // @ts-expect-error There is no such event.
  @OnChannelEvent('done') hear(): void {}

  // @ts-expect-error It hears of a message, and not of a channel.
  @OnChannelEvent('acked') listen(_event: ChannelHappened): void {}

  @OnChannelEvent(['paused', 'resumed']) good({ what }: ChannelHappened): void {
    console.log(what);
  }
}

@Injectable()
class Both {
  constructor(
    @InjectHoldfast() readonly one: Holdfast,
    @InjectHoldfast('other') readonly other: Holdfast,
    @Inject(getChannelToken('numbers', 'other')) readonly numbers: Channel<number, number, number>,
    @Inject(getHoldfastToken()) readonly same: Holdfast,
  ) {}
}

async function started(metadata: ModuleMetadata) {
  const module = await Test.createTestingModule(metadata).compile();
  return module.init();
}

const CASES: Record<string, () => Promise<unknown>> = {
  async 'a processor in memory'() {
    const app = await started({ imports: [memory, numbers], providers: [Squares, Sender] });
    const result = await app.get(Sender).numbers.request(5);
    await app.close();
    return result;
  },
  async 'a channel of a test'() {
    const produced: number[] = [];
    const module = await Test.createTestingModule({ imports: [memory, numbers], providers: [Sender] })
      .overrideProvider(getChannelToken('numbers'))
      .useValue({ produce: async (number: number) => void produced.push(number) })
      .compile();
    await module.get(Sender).numbers.produce(7);
    await module.close();
    return produced;
  },
  async 'a schema'() {
    const schema = {
      '~standard': { version: 1 as const, vendor: 'test', validate: () => ({ issues: [{ message: 'never good' }] }) },
    };
    const app = await started({ imports: [memory, HoldfastModule.registerChannel({ name: 'numbers', schema })], providers: [Sender] });
    const error = await app.get(Sender).numbers.produce(1).catch((thrown: Error) => thrown);
    await app.close();
    return (error as Error).name;
  },
  async 'useClass'() {
    const app = await started({ imports: [HoldfastModule.forRootAsync({ useClass: Settings }), numbers], providers: [Squares, Sender] });
    const result = await app.get(Sender).numbers.request(3);
    await app.close();
    return result;
  },
  async 'useExisting'() {
    const root = HoldfastModule.forRootAsync({ imports: [SettingsModule], useExisting: Settings });
    const app = await started({ imports: [root, numbers], providers: [Squares, Sender] });
    const result = await app.get(Sender).numbers.request(4);
    await app.close();
    return result;
  },
  async 'an instance, which stays open'() {
    const instance = await open('memory:');
    const app = await started({ imports: [HoldfastModule.forRoot({ instance }), numbers], providers: [Squares, Sender] });
    const result = await app.get(Sender).numbers.request(6);
    await app.close();
    const channel = instance.channel<number>('numbers');
    await channel.produce(1);
    const { ready, consumers } = (await channel.inspect())!;
    await instance.close();
    return { result, ready, consumers };
  },
  async 'two connections'() {
    const root = HoldfastModule.forRoot({ url: 'memory:', connection: 'other' });
    const channels = HoldfastModule.registerChannel({ name: 'numbers' }, { name: 'numbers', connection: 'other' });
    const app = await started({ imports: [memory, root, channels], providers: [Squares, Cubes, Sender, Both] });
    const both = app.get(Both);
    const results = [await app.get(Sender).numbers.request(2), await both.numbers.request(2)];
    const indicator = app.get(HoldfastHealthIndicator);
    const health = [await indicator.isHealthy(), await indicator.isHealthy('other', { connection: 'other' })];
    await app.close();
    return { results, health, isSame: both.one === both.same, isOther: both.one !== both.other };
  },
  async 'a consumer that may not go on'() {
    const instance = await open('memory:');
    const app = await started({ imports: [HoldfastModule.forRoot({ instance }), numbers], providers: [Squares] });
    const indicator = app.get(HoldfastHealthIndicator);
    const { holdfast } = await indicator.isHealthy();
    await instance.close();
    const after = await indicator.isHealthy('queue');
    await app.close();
    return [holdfast.status, after.queue.status];
  },
  async 'a durable processor, which messages share'() {
    const contexts = new Map<string, ContextId>();
    ContextIdFactory.apply({
      attach(contextId, { message }: { message: { tenant: string } }) {
        const known = contexts.get(message.tenant) ?? ContextIdFactory.create();
        contexts.set(message.tenant, known);
        return (info) => (info.isTreeDurable ? known : contextId);
      },
    });
    const tenants = HoldfastModule.registerChannel({ name: 'tenants' });
    const app = await started({ imports: [memory, tenants], providers: [OfTenant] });
    const channel = app.get<Channel<object>>(getChannelToken('tenants'));
    const results = [];
    for (const tenant of ['acme', 'globex', 'acme']) results.push(await channel.request({ tenant }));
    await app.close();
    return { results, ended };
  },
  'a method of no processor': () => started({ imports: [memory], providers: [Homeless] }),
  'an unknown connection': () => started({ imports: [memory, numbers], providers: [Cubes] }),
  'no channel': () => started({ imports: [memory], providers: [Squares] }),
  'no method': () => started({ imports: [memory, numbers], providers: [Nothing] }),
  'two methods': () => started({ imports: [memory, numbers], providers: [Twice] }),
  'a listener to nothing': () => started({ imports: [memory], providers: [Nowhere] }),
  'a listener of a moment': () => started({ imports: [memory, numbers], providers: [Fleeting] }),
  'a wrong option of a processor': () => started({ imports: [memory, numbers], providers: [Idle] }),
  'a wrong option of the module': () => started({ imports: [HoldfastModule.forRoot({ url: 'memory:', uri: 1 } as object)] }),
  'a wrong option of a channel': () =>
    started({ imports: [memory, HoldfastModule.registerChannel({ name: 'numbers', retries: 1 } as never)], providers: [Sender] }),
  'an instance and a URL': async () => {
    const instance = await open('memory:');
    return started({ imports: [HoldfastModule.forRoot({ instance, url: 'memory:' })] }).finally(() => instance.close());
  },
  'two ways to make options': async () => HoldfastModule.forRootAsync({ useClass: Settings, useFactory: () => ({}) }),
  'no way to make options': async () => HoldfastModule.forRootAsync({}),
};

for (const [name, run] of Object.entries(CASES)) {
  const came = await run().catch((error: Error) => ({ error: error.message }));
  console.log(JSON.stringify({ name, came }));
}
process.exit(0);
`;
