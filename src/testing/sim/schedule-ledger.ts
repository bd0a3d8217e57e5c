/** The ledger of schedules: what each must have produced, and when, by the rule that the store has for it. */
import { bytesOf } from '../../model/bytes.ts';
import { messageIdText } from '../../model/message-id.ts';
import { tickId } from '../../model/schedule.ts';
import type { StoredSchedule } from '../../machine/schedule-record.ts';
import type { ItemContent } from './commit-content.ts';
import { SLEW } from './leads.ts';
import type { Committed, Looked, SimRecord } from './records.ts';

/** How late a tick may be while a leader runs undisturbed, in milliseconds: the wall clock is looked at once a second. */
const PUNCTUAL_MS = 3_000;

/** A tick that came by this much later than its time was made up for, in milliseconds. */
const LATE_MS = 2_000;

interface Entry {
  readonly stored: StoredSchedule;
  readonly content: string;
  /** The epoch under which it was written last. */
  readonly nonce: string;
}

type TickItem = ItemContent & { readonly schedule: NonNullable<ItemContent['schedule']> };

export class ScheduleLedger {
  /** What the last record has shown to be wrong. */
  problem: string | undefined;
  /** What it has come across in that. */
  hasTicked = false;
  hasMadeUp = false;
  hasQueued = false;
  hasSkipped = false;
  /** Those that the store has, by number. */
  readonly live: Map<number, Entry> = new Map();
  /** The keys of all that it has ever had. */
  readonly known: Set<string> = new Set();
  #machineNow = 0;
  #committedAt = 0;

  add(record: SimRecord, highestWall: number): void {
    this.problem = undefined;
    Object.assign(this, { hasTicked: false, hasMadeUp: false, hasQueued: false, hasSkipped: false });
    if (record.kind === 'commit') this.#commit(record, highestWall);
    else if (record.kind === 'looked') this.problem = this.#overdue(record);
    else if (record.kind === 'manage.answered' && record.action === 'upsert schedule' && record.outcome === 'done') {
      const key = record.id ?? '';
      if (!this.known.has(key)) this.problem = `the schedule "${key}" was acknowledged and is not in the store`;
    }
  }

  #commit(record: Committed, highestWall: number): void {
    const { content, nonce, at } = record;
    const after = new Map(content.schedules.map(({ number, stored }) => [number, stored]));
    const contents = new Map(content.templates.map((template) => [template.number, template.content]));
    const ticks = new Map<number, TickItem[]>();
    for (const item of content.packs.flatMap(({ items }) => items)) {
      if (!isTick(item) || item.schedule.manual) continue;
      const number = this.#whose(item, after);
      if (number === undefined) {
        this.problem ??= `${item.id} is a tick of "${item.schedule.key}", and no such schedule has it`;
        continue;
      }
      ticks.set(number, [...(ticks.get(number) ?? []), item]);
    }
    for (const number of new Set([...ticks.keys(), ...after.keys()])) {
      const before = this.live.get(number);
      const stored = after.get(number);
      const came = ticks.get(number) ?? [];
      const said = contents.get(number) ?? before?.content;
      const wrong = came.find((item) => item.content !== said && item.content !== before?.content);
      this.problem ??= wrong && `${wrong.id} is not the message of "${wrong.schedule.key}"`;
      this.problem ??= judge(before?.stored, stored, after.has(number), came, content.now, highestWall);
      if (came.length > 0) this.#note(before, stored, came, nonce, Math.max(content.now, record.wall));
      if (stored !== undefined && stored.skippedAt !== (before?.stored.skippedAt ?? 0)) this.hasSkipped = true;
      if (stored !== undefined) {
        this.live.set(number, { stored, content: said ?? '', nonce });
        this.known.add(stored.key);
      } else if (after.has(number)) this.live.delete(number);
    }
    this.#machineNow = content.now;
    this.#committedAt = at;
  }

  /** The schedule whose seed the id of a tick has. */
  #whose(item: TickItem, after: ReadonlyMap<number, StoredSchedule | undefined>): number | undefined {
    const all = [...this.live.values()].map(({ stored }) => stored);
    for (const stored of [...all, ...after.values()]) {
      if (stored?.key !== item.schedule.key) continue;
      if (messageIdText(tickId(bytesOf(stored.seed), item.schedule.at)) === item.id) return stored.number;
    }
    return undefined;
  }

  #note(
    before: Entry | undefined,
    stored: StoredSchedule | undefined,
    came: readonly TickItem[],
    nonce: string,
    time: number,
  ): void {
    this.hasTicked = true;
    const { at } = (came[0] as TickItem).schedule;
    if (before !== undefined && before.nonce !== nonce && time - at > LATE_MS) this.hasMadeUp = true;
    if (stored?.settings.overlap === 'queue' && at <= stored.queuedUpTo) this.hasQueued = true;
  }

  /** A schedule whose tick should have come by now, as a leader runs that nothing disturbs. */
  #overdue({ at, wall, leaderRuns, hasRoom, quietSince }: Looked): string | undefined {
    if (!leaderRuns || !hasRoom || at - quietSince < PUNCTUAL_MS) return undefined;
    const now = this.#machineNow + (at - this.#committedAt) * (1 - SLEW);
    for (const { stored } of this.live.values()) {
      const { key, settings, nextAt, dueAt, isPaused, lastSeq } = stored;
      if (isPaused || nextAt === 0 || (settings.overlap === 'queue' && lastSeq !== 0)) continue;
      const lateMs = ('cron' in settings.rule ? wall : now) - dueAt;
      if (lateMs > PUNCTUAL_MS && at - this.#committedAt > PUNCTUAL_MS) {
        return `"${key}" should have had its tick ${Math.floor(lateMs)} ms ago`;
      }
    }
    return undefined;
  }
}

function isTick(item: ItemContent): item is TickItem {
  return item.schedule !== undefined;
}

/** What is wrong with what one schedule has produced in a commit, and with what its record says of that. */
function judge(
  before: StoredSchedule | undefined,
  after: StoredSchedule | undefined,
  isWritten: boolean,
  came: readonly TickItem[],
  now: number,
  highestWall: number,
): string | undefined {
  const { key, settings, anchorAt } = (after ?? before) as StoredSchedule;
  const times = came.map(({ schedule }) => schedule.at);
  const [first] = times;
  const last = times.at(-1);
  const lastBefore = before?.lastAt ?? 0;
  if (!isWritten) return `"${key}" has ticked and its record does not say so`;
  if (first === undefined) {
    const isSame = after === undefined || after.lastAt === lastBefore;
    return isSame ? undefined : `"${key}" says that it has ticked at ${after.lastAt}, and no message came`;
  }
  for (const [i, at] of times.entries()) {
    if (at <= (times[i - 1] ?? lastBefore)) return `"${key}" ticks at ${at} again`;
    if (!isTime(settings.rule, anchorAt, at)) return `"${key}" ticks at ${at}, which is none of its times`;
    if (at > ('cron' in settings.rule ? highestWall : now)) return `"${key}" ticks at ${at}, which is too early`;
    const { startAt = at, endAt = at, limit = Infinity } = settings;
    if (at < startAt || at > endAt) return `"${key}" ticks at ${at}, beyond its start or end`;
    if (after !== undefined && after.ticks > limit) return `"${key}" has ticked more often than its limit`;
  }
  if (after === undefined) return undefined;
  if (after.lastAt !== last) return `"${key}" has ticked at ${last} and says ${after.lastAt}`;
  if (after.nextAt !== 0 && after.nextAt <= after.lastAt) return `"${key}" would tick at ${after.nextAt} again`;
  return before === undefined ? undefined : judgeGaps(before, after, times);
}

/** Where all ticks are to come, each follows the one before, and the first is the one that was next. */
function judgeGaps(before: StoredSchedule, after: StoredSchedule, times: readonly number[]): string | undefined {
  const { key, settings, anchorAt } = after;
  const isSame = JSON.stringify(before.settings) === JSON.stringify(settings) && before.anchorAt === anchorAt;
  // It was changed, or paused for a moment, in the same commit.
  if (!isSame || before.isPaused || after.isPaused || after.ticks !== before.ticks + times.length) return undefined;
  const [first = 0] = times;
  if (first < before.nextAt) return `"${key}" ticks at ${first}, and ${before.nextAt} was next`;
  if (settings.missed !== 'all' || settings.overlap === 'skip') return undefined;
  if (first !== before.nextAt) return `"${key}" ticks at ${first}, and ${before.nextAt} never came`;
  for (const [i, at] of times.entries()) {
    const next = times[i + 1] ?? after.nextAt;
    if (next !== 0 && next !== timeAfter(settings.rule, anchorAt, at)) return `"${key}" leaves a tick out behind ${at}`;
  }
  return undefined;
}

type Rule = StoredSchedule['settings']['rule'];

/** A second, independent statement of what a rule says; the patterns of a simulation are all of the form of every so many seconds. */
function isTime(rule: Rule, anchorAt: number, at: number): boolean {
  if ('everyMs' in rule) return (at - anchorAt) % rule.everyMs === 0;
  return at % 1_000 === 0 && ((at / 1_000) % 60) % stepOf(rule.cron) === 0;
}

function timeAfter(rule: Rule, anchorAt: number, at: number): number {
  if ('everyMs' in rule) return at + rule.everyMs;
  let next = at + 1_000;
  while (!isTime(rule, anchorAt, next)) next += 1_000;
  return next;
}

/** The pattern that comes at every so many seconds of each minute. */
export function everySeconds(seconds: number): string {
  return `*/${seconds} * * * * *`;
}

function stepOf(cron: string): number {
  return Number(/^\*\/(\d+) /.exec(cron)?.[1]);
}
