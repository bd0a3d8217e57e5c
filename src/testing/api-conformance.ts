/**
 * The conformance suite of the API: what holds over every store and every way to it. It needs no test framework:
 *
 *     for (const { name, run } of apiConformance(factory)) test(name, run);
 *
 * It waits for what happens and never for time to pass, so it can run on the machine's own clock.
 */
import type { Channel } from '../api/channel.ts';
import type { Holdfast } from '../api/holdfast.ts';
import type { ChannelOptions } from '../api/options.ts';
import { systemRandom } from '../model/random.ts';
import type { ApiCase } from './api-conformance-tools.ts';
import { batchCases } from './api-conformance-batches.ts';
import { consumeCases } from './api-conformance-consume.ts';
import { countsCases } from './api-conformance-counts.ts';
import { eventCases } from './api-conformance-events.ts';
import { flowCases } from './api-conformance-flows.ts';
import { handlerCases } from './api-conformance-handlers.ts';
import { kvCases } from './api-conformance-kv.ts';
import { lifeCases } from './api-conformance-life.ts';
import { limitCases } from './api-conformance-limits.ts';
import { manageCases } from './api-conformance-manage.ts';
import { produceCases } from './api-conformance-produce.ts';
import { scheduleCases } from './api-conformance-schedules.ts';
import { topicCases } from './api-conformance-topics.ts';
import type { ConformanceCase } from './store-conformance.ts';

/** A store as applications reach it; it may be the same for all cases, which use channels of their own. */
export interface ApiUnderTest {
  /** Opens one more instance on the store. */
  readonly open: () => Promise<Holdfast>;
  /** Called when every instance that was opened is closed. */
  readonly dispose: () => Promise<void>;
}

/** Called once a case. */
export type ApiFactory = () => Promise<ApiUnderTest>;

export interface ApiConformanceOptions {
  /**
   * Connections may be cut on the way: a handler may then run again, though its effects happen once.
   * @default false
   */
  readonly handlersMayRepeat?: boolean;
}

/** The cases that hold for every store over every connection. They are independent of each other. */
export function apiConformance(factory: ApiFactory, options: ApiConformanceOptions = {}): ConformanceCase[] {
  const { handlersMayRepeat = false } = options;
  return [
    ...produceCases,
    ...consumeCases,
    ...handlerCases,
    ...manageCases,
    ...lifeCases,
    ...limitCases,
    ...batchCases,
    ...eventCases,
    ...topicCases,
    ...kvCases,
    ...countsCases,
    ...scheduleCases,
    ...flowCases,
  ].map(([name, body]) => ({
    name,
    run: () => runCase(factory, body, !handlersMayRepeat),
  }));
}

async function runCase(factory: ApiFactory, body: ApiCase[1], runsOnce: boolean): Promise<void> {
  const subject = await factory();
  const opened: Holdfast[] = [];
  const open = async (): Promise<Holdfast> => {
    const holdfast = await subject.open();
    opened.push(holdfast);
    return holdfast;
  };
  const prefix = Buffer.from(systemRandom.fill(new Uint8Array(6))).toString('hex');
  const nameOf = (name: string): string => `${prefix}/${name}`;
  try {
    const hf = await open();
    const channel = <Message, Result = unknown>(
      name: string,
      options?: ChannelOptions<undefined>,
    ): Channel<Message, Message, Result> => hf.channel<Message, Result>(nameOf(name), options);
    await body({ hf, open, nameOf, channel, runsOnce });
  } finally {
    // Handlers that wait for ever are let go.
    await Promise.all(opened.map((holdfast) => holdfast.close({ grace: 0 })));
    await subject.dispose();
  }
}
