/** Metrics of channels, as an instance asks for them. */
import type { Client } from '../client/client.ts';
import type { InspectMetrics } from '../model/command.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { type ChannelMetrics, METRICS_MINUTES, METRICS_STEP_MS, type MetricsPage } from '../model/metrics.ts';
import { checkChannelName, refuseUnknown, resolveMoment, wholeNumber } from './checks.ts';
import { ask } from './stored.ts';

export interface MetricsOptions {
  /**
   * The beginning, which is moved down to a whole minute; at most a day back.
   * @default an hour before the end
   */
  readonly from?: Date | number;
  /**
   * The end, which is moved up to a whole minute.
   * @default now
   */
  readonly to?: Date | number;
  /**
   * What one point covers: whole minutes.
   * @default 1m for one channel, everything for many
   */
  readonly step?: Duration;
}

export interface AllMetricsOptions extends MetricsOptions {
  /** Only this channel, if there is one of this name. @default all */
  readonly channel?: string;
  /** What the page before gave as `next`. @default the first channels */
  readonly after?: number;
  /** How many channels at most, up to 1,000; fewer come when they are more than 20,000 minutes together. @default 100 */
  readonly limit?: number;
}

const OPTIONS = ['from', 'to', 'step'] as const;
const DEFAULT_LIMIT = 100;
const MOST_CHANNELS = 1_000;

/** The metrics of a channel that exists. @throws TypeError, RangeError for options that cannot be used */
export async function readChannelMetrics(
  client: Client,
  channel: string,
  options: MetricsOptions,
): Promise<ChannelMetrics> {
  refuseUnknown(options, OPTIONS, 'metrics');
  const { channels } = await readMetrics(client, { step: '1m', ...options, channel });
  return channels[0] as ChannelMetrics;
}

/** The metrics of some channels. @throws TypeError, RangeError for options that cannot be used */
export async function readMetrics(client: Client, options: AllMetricsOptions): Promise<MetricsPage> {
  refuseUnknown(options, [...OPTIONS, 'channel', 'after', 'limit'], 'metrics');
  const { channel } = options;
  if (channel !== undefined) checkChannelName(channel);
  const command: InspectMetrics = {
    kind: 'inspect',
    what: 'metrics',
    channel,
    after: wholeNumber(options.after ?? 0, 'after', 0, Number.MAX_SAFE_INTEGER),
    limit: wholeNumber(options.limit ?? DEFAULT_LIMIT, 'limit', 1, MOST_CHANNELS),
    from: resolveMoment(options.from, 'from'),
    to: resolveMoment(options.to, 'to'),
    stepMs: resolveStep(options.step),
  };
  if (command.from !== undefined && command.to !== undefined && command.from > command.to) {
    throw new RangeError('Cannot use a "from" that is later than "to"');
  }
  return (await ask(client, command)) as MetricsPage;
}

function resolveStep(step: Duration | undefined): number | undefined {
  if (step === undefined) return undefined;
  const stepMs = parseDuration(step, 'step');
  if (stepMs > 0 && stepMs % METRICS_STEP_MS === 0 && stepMs <= METRICS_MINUTES * METRICS_STEP_MS) return stepMs;
  throw new RangeError(`Cannot use ${String(step)} as "step": it must be whole minutes, from 1m to 24h`);
}
