/** An instance for tests: in memory, on a clock that the test moves. */
import type { ChannelMap } from '../api/channel-map.ts';
import type { Holdfast, HoldfastWith } from '../api/holdfast.ts';
import { open, type OpenOptions } from '../open.ts';
import { type Random, seededRandom } from '../model/random.ts';
import { TestClock } from './test-clock.ts';

export interface TestHoldfastOptions extends Omit<OpenOptions, 'clock' | 'random' | 'thread'> {
  /** The clock to use. @default a new one */
  readonly clock?: TestClock;
  /** Where ids and jitter come from. @default a seeded source, the same in each test */
  readonly random?: Random;
}

/** An instance with the clock that it runs on. */
export interface TestHoldfast<Instance extends Holdfast = Holdfast> extends AsyncDisposable {
  readonly holdfast: Instance;
  readonly clock: TestClock;
  close(): Promise<void>;
}

/**
 * Opens an instance in memory on a {@link TestClock}. Nothing of it outlives the test, and tests do not share anything.
 *
 * ```ts
 * await using test = await createTestHoldfast();
 * const mails = test.holdfast.channel<Mail>('mails', { attempts: 3, backoff: '1m' });
 * await mails.consume(send);
 * await mails.produce({ to: 'ada@example.org' });
 * await test.clock.advance('2m');
 * ```
 */
export async function createTestHoldfast<Definitions extends ChannelMap>(
  options: TestHoldfastOptions & { readonly channels: Definitions },
): Promise<TestHoldfast<HoldfastWith<Definitions>>>;
export async function createTestHoldfast(options?: TestHoldfastOptions): Promise<TestHoldfast>;
export async function createTestHoldfast(options: TestHoldfastOptions = {}): Promise<TestHoldfast> {
  const { clock = new TestClock(), random = seededRandom(1), ...rest } = options;
  const holdfast = await open('memory:', { ...rest, clock, random });
  const close = (): Promise<void> => holdfast.close();
  return { holdfast, clock, close, [Symbol.asyncDispose]: close };
}
