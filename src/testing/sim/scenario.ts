/** A scenario: what a seed makes of channels, processes and faults. Each seed has some faults and not others. */
import type { ChannelOptions } from '../../api/options.ts';
import type { RateOptions } from '../../api/settings.ts';
import type { Duration } from '../../model/duration.ts';
import type { SpanMs } from '../faulty-store.ts';
import type { Chance } from './chance.ts';

export interface ChannelPlan {
  readonly name: string;
  readonly options: ChannelOptions<undefined>;
  /** What makes two of its messages the same. */
  readonly keys: 'none' | 'content' | 'key';
  readonly priorities: boolean;
  /** Keys of groups that its messages may have; none have one when it is empty. */
  readonly groups: readonly string[];
  /** Messages have costs, and handlers are told to wait. */
  readonly isLimited: boolean;
  /** Handlers may produce to this channel with their ack. */
  readonly followUps: string | undefined;
  readonly concurrency: number;
  readonly prefetch: number | 'auto';
  /** Its handlers take so many messages at a time. */
  readonly batch: { readonly size: number; readonly minSize: number; readonly wait: number } | undefined;
}

/** How often each fault comes on average, in milliseconds; `undefined` for never. Chances are per occasion. */
export interface FaultPlan {
  readonly cut: number | undefined;
  readonly silence: number | undefined;
  readonly kill: number | undefined;
  readonly killLeader: number | undefined;
  readonly cutPower: number | undefined;
  readonly pause: number | undefined;
  readonly pauseLeader: number | undefined;
  /** A handler blocks its event loop. */
  readonly block: number | undefined;
  /** The leader is cut off from the others, but not from the store. */
  readonly isolate: number | undefined;
  readonly leave: number | undefined;
  readonly fillDisk: number | undefined;
  readonly jumpWall: number | undefined;
  readonly doubledFrames: number;
  readonly failedCommits: number;
  readonly failedReads: number;
  readonly deadlyHandlers: number;
  readonly hangingHandlers: number;
}

export interface Scenario {
  /** How long faults and work go on. */
  readonly chaosMs: number;
  readonly channels: readonly ChannelPlan[];
  /** Members of the place, each a process with a worker. */
  readonly processes: number;
  /** How often a worker does something, on average. */
  readonly actionMs: number;
  /** The share of its actions, and of handlers, that are about KV. */
  readonly kvShare: number;
  /** The share of its actions that are about flows. */
  readonly flowShare: number;
  /** The share of its actions that are about schedules. */
  readonly scheduleShare: number;
  /** The share that is about topics. */
  readonly topicShare: number;
  /** What the broker's cache of entries holds at most. */
  readonly entryCacheBytes: number | undefined;
  readonly sessionTimeoutMs: number;
  readonly latencyMs: SpanMs;
  readonly commitMs: SpanMs;
  readonly readMs: SpanMs;
  /** How long leases of other processes wait for their client when its link has closed. */
  readonly lingerMs: number;
  readonly faults: FaultPlan;
  /** Crashes the broker once more at the end and compares what it shows before and after. */
  readonly reopens: boolean;
}

export function drawScenario(chance: Chance): Scenario {
  const chaosMs = chance.between(60_000, 400_000);
  const processes = chance.oneOf([1, 2, 3, 3, 4]);
  const channels = drawChannels(chance);
  const scenario = {
    chaosMs,
    processes,
    actionMs: (chaosMs * processes) / chance.between(35, 115),
    sessionTimeoutMs: chance.oneOf([1_000, 5_000, 30_000]),
    latencyMs: chance.oneOf([
      [0.05, 0.5],
      [0.1, 5],
      [1, 80],
    ] as const),
    commitMs: chance.oneOf([
      [0.2, 5],
      [0.2, 5],
      [5, 60],
    ] as const),
    readMs: chance.oneOf([
      [0, 0],
      [0.05, 2],
      [1, 30],
    ] as const),
    lingerMs: chance.oneOf([0, 0, 10, 1_000, Infinity]),
    faults: drawFaults(chance, chaosMs),
    reopens: chance.happens(0.5),
    kvShare: chance.oneOf([0, 0.2, 0.4, 0.8]),
    entryCacheBytes: chance.oneOf([undefined, 0, 700, 3_000]),
    // Drawn last, so that everything else of a seed stays what it was.
    scheduleShare: chance.oneOf([0, 0, 0.1, 0.3]),
    flowShare: chance.oneOf([0, 0, 0.1, 0.3]),
    topicShare: chance.oneOf([0, 0.15, 0.3]),
  };
  return { ...scenario, channels: channels.map((plan) => drawLimits(chance, plan)) };
}

/** Gives some channels groups, and some limits. */
function drawLimits(chance: Chance, plan: ChannelPlan): ChannelPlan {
  if (!plan.name.startsWith('work/')) return plan;
  const hasGroups = chance.happens(0.35);
  const isLimited = chance.happens(0.25);
  const options: ChannelOptions<undefined> = {
    ...plan.options,
    ...(isLimited
      ? {
          limits: {
            concurrency: chance.oneOf([1, 2, 3, Infinity]),
            rate: chance.oneOf([false, drawRate(chance), drawRate(chance)] as const),
          },
        }
      : {}),
    ...(hasGroups
      ? {
          groups: {
            concurrency: chance.oneOf([1, 1, 1, 2, Infinity]),
            rate: chance.happens(0.3) ? drawRate(chance) : (false as const),
            maxBacklog: chance.happens(0.2) ? chance.whole(2, 6) : Infinity,
          },
        }
      : {}),
  };
  return { ...plan, options, isLimited, groups: hasGroups ? GROUP_KEYS.slice(0, chance.whole(1, 3)) : [] };
}

const GROUP_KEYS = ['red', 'green', 'blue'] as const;

function drawRate(chance: Chance): RateOptions {
  const rate = { count: chance.whole(2, 8), per: `${chance.whole(1, 6)}s` } as const;
  return chance.happens(0.5) ? { ...rate, kind: 'window' } : { ...rate, kind: 'bucket', burst: chance.whole(1, 10) };
}

function drawFaults(chance: Chance, chaosMs: number): FaultPlan {
  const often = chance.oneOf([3, 6, 12]);
  const every = (probability: number, share: number): number | undefined =>
    chance.happens(probability) ? chaosMs / (often * share) : undefined;
  const rate = (probability: number, most: number): number =>
    chance.happens(probability) ? chance.between(0, most) : 0;
  return {
    cut: every(0.5, 2),
    silence: every(0.25, 0.5),
    kill: every(0.4, 0.7),
    killLeader: every(0.4, 0.5),
    cutPower: every(0.3, 0.4),
    pause: every(0.3, 0.7),
    pauseLeader: every(0.3, 0.5),
    block: every(0.25, 0.5),
    isolate: every(0.2, 0.3),
    leave: every(0.2, 0.4),
    fillDisk: every(0.2, 0.4),
    jumpWall: every(0.3, 0.7),
    doubledFrames: rate(0.4, 0.2),
    failedCommits: rate(0.4, 0.03),
    failedReads: rate(0.2, 0.01),
    deadlyHandlers: rate(0.4, 0.06),
    hangingHandlers: rate(0.4, 0.06),
  };
}

function drawChannels(chance: Chance): ChannelPlan[] {
  const count = chance.whole(2, 4);
  const names = Array.from({ length: count }, (_, i) => `work/${i}`);
  const plans = names.map((name) => drawChannel(chance, name, names));
  // What is dead somewhere is handled here.
  plans.push({ ...PLAIN, name: 'dead/letters', options: KEEP_ALL });
  // Follow-ups come here, where nothing suppresses them.
  plans.push({ ...PLAIN, name: 'follow/ups', options: KEEP_ALL });
  return plans;
}

const KEEP_ALL: ChannelOptions<undefined> = { retain: { completed: false, dead: false } };

const PLAIN: Omit<ChannelPlan, 'name' | 'options'> = {
  keys: 'none',
  priorities: false,
  groups: [],
  isLimited: false,
  followUps: undefined,
  concurrency: 2,
  prefetch: 'auto',
  batch: undefined,
};

function drawChannel(chance: Chance, name: string, names: readonly string[]): ChannelPlan {
  const keys = chance.oneOf(['none', 'none', 'content', 'key'] as const);
  const options: ChannelOptions<undefined> = {
    attempts: chance.whole(1, 4),
    backoff: drawBackoff(chance),
    timeout: chance.happens(0.4) ? `${chance.whole(1, 8)}s` : false,
    timeToLive: chance.happens(0.2) ? `${chance.whole(5, 90)}s` : false,
    maxDeaths: chance.whole(1, 3),
    ...(chance.happens(0.4) ? { deadLetter: 'dead/letters' } : {}),
    ...(chance.happens(0.3)
      ? { maxBacklog: chance.whole(2, 12), onFull: chance.oneOf(['reject', 'wait'] as const) }
      : {}),
    ...drawDedupe(chance, keys),
    retain: chance.happens(0.7)
      ? { completed: false, dead: false }
      : { completed: { count: chance.whole(0, 5), age: '30s' }, dead: { count: 3, age: '2m' } },
  };
  return {
    name,
    options,
    keys,
    priorities: chance.happens(0.4),
    groups: [],
    isLimited: false,
    followUps: chance.happens(0.6) ? (chance.happens(0.8) ? 'follow/ups' : chance.oneOf(names)) : undefined,
    concurrency: chance.oneOf([1, 2, 5]),
    prefetch: chance.oneOf(['auto', 0, 3] as const),
    batch: chance.happens(0.4) ? drawBatch(chance) : undefined,
  };
}

function drawDedupe(chance: Chance, keys: ChannelPlan['keys']): Partial<ChannelOptions<undefined>> {
  if (keys === 'none') return {};
  const seconds: Duration = `${chance.whole(2, 60)}s`;
  if (keys === 'content') return { process: 'exactlyOnce', deduplicationInterval: seconds };
  const mode = chance.oneOf(['reject', 'replace', 'keepLast'] as const);
  return { dedupe: { mode, window: chance.happens(0.5) ? 'untilSettled' : seconds } };
}

function drawBackoff(chance: Chance): NonNullable<ChannelOptions['backoff']> {
  switch (chance.whole(0, 4)) {
    case 0:
      return 0;
    case 1:
      return { type: 'fixed', delay: chance.whole(1, 8_000), jitter: chance.oneOf([0, 0.5]) };
    case 2:
      return { type: 'exponential', delay: '500ms', max: '20s' };
    case 3:
      return ['100ms', '1s', '10s'];
    default:
      return (attempt) => (attempt > 6 ? undefined : attempt * 700);
  }
}

function drawBatch(chance: Chance): NonNullable<ChannelPlan['batch']> {
  const size = chance.whole(2, 6);
  return { size, minSize: chance.whole(1, size), wait: chance.whole(0, 2_000) };
}
