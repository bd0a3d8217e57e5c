/** Metrics of channels, as an instance asks for them. */
import type { Client } from '../client/client.ts';
import type { InspectMetrics } from '../model/command.ts';
import { type Duration, parseDuration } from '../model/duration.ts';
import { METRICS_MINUTES, METRICS_STEP_MS, type MetricsPage } from '../model/metrics.ts';
import { resolveMoment, refuseUnknown, wholeNumber } from './checks.ts';
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
  /** What the page before gave as `next`. @default the first channels */
  readonly after?: number;
  /** How many channels at most, up to 1,000; fewer come when they are more than 20,000 minutes together. @default 100 */
  readonly limit?: number;
}

const OPTIONS = ['from', 'to', 'step'] as const;
const DEFAULT_LIMIT = 100;
const MOST_CHANNELS = 1_000;

/** The metrics of one channel, or of some. @throws TypeError, RangeError for options that cannot be used */
export async function readMetrics(
  client: Client,
  channel: string | undefined,
  options: AllMetricsOptions,
): Promise<MetricsPage> {
  refuseUnknown(options, channel === undefined ? [...OPTIONS, 'after', 'limit'] : OPTIONS, 'metrics');
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
