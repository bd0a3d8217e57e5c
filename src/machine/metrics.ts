/** Metrics: what channels have counted by the minute, as it is asked for. */
import type { InspectMetrics, Reply } from '../model/command.ts';
import { addHistogram, createHistogram } from '../model/histogram.ts';
import {
  type ChannelMetrics,
  METRICS_MINUTES,
  METRICS_STEP_MS,
  type MetricsPage,
  type MetricsPoint,
  NO_TOTALS,
  TOTALS,
} from '../model/metrics.ts';
import type { KeyRange } from '../model/records.ts';
import { hasRight, rightsOn } from '../model/scopes.ts';
import type { ColdView, Need } from './cold.ts';
import { type MinuteCounts, minuteUnderWay, readMinute, timesEver } from './counts.ts';
import { KIND } from './layout.ts';
import type { Channel, Session } from './memory.ts';
import type { MachineState } from './state.ts';
import { viewChannel } from './view-channel.ts';

/** How many channels one command may ask for, and how many minutes of all of them it may concern. */
const MAX_CHANNELS = 1_000;
const MAX_MINUTES = 20_000;

const DEFAULT_MINUTES = 60;

/** Minutes since 1970, the last one excluded. */
interface Stretch {
  readonly from: number;
  readonly to: number;
}

export function planMetrics(
  state: MachineState,
  session: Session,
  command: InspectMetrics,
  view: ColdView,
): Need | undefined {
  const stretch = stretchOf(state, command);
  const ranges = select(state, session, command, stretch)
    .channels.flatMap((channel) => rangeOf(state, channel, stretch) ?? [])
    .filter((range) => view.range(range) === undefined);
  return ranges.length === 0 ? undefined : { keys: [], ranges };
}

export function applyMetrics(state: MachineState, session: Session, command: InspectMetrics, view: ColdView): Reply {
  const stretch = stretchOf(state, command);
  const { channels, next } = select(state, session, command, stretch);
  const stepMs = command.stepMs ?? Math.max(1, stretch.to - stretch.from) * METRICS_STEP_MS;
  const page: MetricsPage = {
    channels: channels.map((channel) => viewMetrics(state, channel, stretch, stepMs, view)),
    next,
  };
  return { kind: 'value', value: page };
}

/** Up to the minute under way, and not further back than records are kept. */
function stretchOf({ now }: MachineState, command: InspectMetrics): Stretch {
  const end = Math.floor(now / METRICS_STEP_MS) + 1;
  const to = Math.min(end, command.to === undefined ? end : Math.ceil(command.to / METRICS_STEP_MS));
  const from = command.from === undefined ? to - DEFAULT_MINUTES : Math.floor(command.from / METRICS_STEP_MS);
  return { from: Math.min(to, Math.max(from, end - 1 - METRICS_MINUTES)), to };
}

/** The channels of an answer. They have consecutive numbers and are never removed. */
function select(
  { channels: names, channelNumbers, nextChannel }: MachineState,
  { grant }: Session,
  { channel: name, after, limit }: InspectMetrics,
  { from, to }: Stretch,
): { readonly channels: readonly Channel[]; readonly next: number | undefined } {
  if (name !== undefined) {
    const channel = names.get(name);
    return { channels: channel === undefined ? [] : [channel], next: undefined };
  }
  const most = Math.min(limit, MAX_CHANNELS, Math.max(1, Math.floor(MAX_MINUTES / Math.max(1, to - from))));
  const channels: Channel[] = [];
  let number = after + 1;
  for (; number < nextChannel && channels.length < most; number++) {
    const channel = channelNumbers.get(number);
    if (channel !== undefined && hasRight(rightsOn(grant, channel.name), 'read')) channels.push(channel);
  }
  return { channels, next: number < nextChannel ? number - 1 : undefined };
}

/** Where the records of these minutes are; `undefined` when there are none. */
function rangeOf({ layout }: MachineState, { number, counts }: Channel, { from, to }: Stretch): KeyRange | undefined {
  if (counts === undefined || counts.newest < from || counts.oldest >= to || counts.newest === 0) return undefined;
  return { from: layout.key(KIND.minutes, number, from), to: layout.key(KIND.minutes, number, to) };
}

function viewMetrics(
  state: MachineState,
  channel: Channel,
  stretch: Stretch,
  stepMs: number,
  view: ColdView,
): ChannelMetrics {
  const { latency, handling } = timesEver(channel);
  const from = stretch.from * METRICS_STEP_MS;
  return {
    channel: channel.name,
    from,
    to: Math.max(from, Math.min(stretch.to * METRICS_STEP_MS, Math.floor(state.now))),
    stepMs,
    points: pointsOf(minutesOf(state, channel, stretch, view), from, stepMs),
    latency,
    handling,
    now: viewChannel(state, channel),
  };
}

function* minutesOf(state: MachineState, channel: Channel, stretch: Stretch, view: ColdView): Generator<MinuteCounts> {
  const range = rangeOf(state, channel, stretch);
  for (const { key, value } of (range && view.range(range)) ?? [])
    yield readMinute(state.layout.numberAt(key, 1), value);
  const last = minuteUnderWay(channel);
  if (last !== undefined && last.minute >= stretch.from && last.minute < stretch.to) yield last;
}

/** Minutes in order, put together in steps. */
function pointsOf(minutes: Iterable<MinuteCounts>, from: number, stepMs: number): MetricsPoint[] {
  const points: { readonly at: number; readonly sum: ReturnType<typeof createSum> }[] = [];
  for (const { minute, counts, latency, handling } of minutes) {
    const at = from + Math.floor((minute * METRICS_STEP_MS - from) / stepMs) * stepMs;
    if (points.at(-1)?.at !== at) points.push({ at, sum: createSum() });
    const { sum } = points.at(-1) as (typeof points)[number];
    for (const total of TOTALS) sum.counts[total] += counts[total];
    addHistogram(sum.latency, latency);
    addHistogram(sum.handling, handling);
  }
  return points.map(({ at, sum }) => ({ at, ...sum }));
}

function createSum() {
  return { counts: { ...NO_TOTALS }, latency: createHistogram(), handling: createHistogram() };
}
