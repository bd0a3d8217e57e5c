/** `holdfast limit`: how much of a channel, or of one of its groups, is handed out at a time, and how fast. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Holdfast } from '../../api/holdfast.ts';
import type { LimitOptions, RateOptions } from '../../api/settings.ts';
import type { Duration } from '../../model/duration.ts';
import { writeJson, writeLine } from '../output.ts';
import { addStoreCommand, durationFlag } from '../store-command.ts';
import { safeText } from '../text.ts';
import { withStore } from '../with-store.ts';

interface LimitFlags {
  readonly json?: true;
  readonly group?: string;
  readonly concurrency?: number;
  readonly rate?: { readonly count: number; readonly per: Duration } | false;
  readonly window?: true;
}

export function addLimit(program: Command): void {
  addStoreCommand(
    program,
    'limit <channel>',
    'change how much of a channel, or of a group, is handed out at a time, and how fast',
    'holdfast limit mail --concurrency 20 --rate 100/1m --data ./data',
  )
    .option('--concurrency <count>', 'messages under a lease at a time, or none for any number', concurrencyFlag)
    .option('--rate <count/time>', 'how fast messages are handed out, as 100/1m, or none', rateFlag)
    .option('--window', 'count the rate in windows, each begun by the first message, instead of evenly')
    .option('--group <key>', 'the rules of this group alone, in place of those that it had')
    .action((channel: string, flags: LimitFlags, command: Command) =>
      withStore(command, (hf) => limit(hf, channel, flags)),
    );
}

function concurrencyFlag(text: string): number {
  if (text === 'none') return Infinity;
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1) return count;
  throw new InvalidArgumentError('It must be a whole number from 1, or none.');
}

function rateFlag(text: string): LimitFlags['rate'] {
  if (text === 'none') return false;
  const [, count, per] = /^(\d+)\/(.+)$/.exec(text) ?? [];
  if (count === undefined || per === undefined) throw new InvalidArgumentError('It must be like 100/1m, or none.');
  return { count: Number(count), per: durationFlag(per) };
}

async function limit(hf: Holdfast, channel: string, flags: LimitFlags): Promise<void> {
  const { group, concurrency, rate, window, json } = flags;
  if (concurrency === undefined && rate === undefined)
    throw new TypeError('Cannot limit nothing: give --concurrency, --rate, or both');
  if (window === true && (rate === undefined || rate === false))
    throw new TypeError('Cannot count in windows without a rate: give --rate too');
  const limits: LimitOptions = {
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(rate === undefined ? {} : { rate: rate === false ? false : rateOptions(rate, window) }),
  };
  if (group === undefined) await hf.admin.configure(channel, { limits });
  else await hf.admin.group(channel, group).configure(limits);
  const what = group === undefined ? safeText(channel) : `Group ${safeText(group)} of ${safeText(channel)}`;
  if (json === true) return writeJson({ channel, ...(group !== undefined && { group }), done: 'limit' });
  await writeLine(`${what} has new limits`);
}

function rateOptions(rate: { readonly count: number; readonly per: Duration }, window: true | undefined): RateOptions {
  return window === true ? { ...rate, kind: 'window' } : rate;
}
