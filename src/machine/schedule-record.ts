/**
 * The stored form of a schedule without its message, which has a record of its own: the block that the client has sent.
 *
 * ```
 * schedule = version(u8) flags key(text) seed(10) channel policy createdAt(f64) rule jitterMs(f64) missed(u8) overlap(u8)
 *            [startAt(f64)] [endAt(f64)] [limit] anchorAt(f64) templateBytes nextAt(f64) dueAt(f64)
 *            ticks lastAt(f64) lastSeq skippedAt(f64) late queuedUpTo(f64) [failure(text)]
 * rule     = cron(text) timeZone(text) | everyMs(f64)
 * ```
 */
import { bytesOf, ByteReader, ByteWriter, textOf } from '../model/bytes.ts';
import { MISSED, OVERLAP, type ScheduleSettings, SEED_BYTES } from '../model/schedule.ts';
import type { Schedule } from './schedule.ts';

const RECORD_VERSION = 1;

const FLAG = { cron: 1, startAt: 2, endAt: 4, limit: 8, isPaused: 16, failure: 32 } as const;

/** A schedule as it was read; its channel and policy still as numbers. */
export interface StoredSchedule extends Omit<Schedule, 'channel' | 'policy'> {
  readonly channel: number;
  readonly policy: number;
}

const scratch = new ByteWriter(512);

export function encodeSchedule(schedule: Schedule): Uint8Array {
  const { settings, isPaused, failure } = schedule;
  const { rule, startAt, endAt, limit } = settings;
  const record = scratch;
  record.clear();
  record.u8(RECORD_VERSION);
  record.varint(
    ('cron' in rule ? FLAG.cron : 0) |
      (startAt === undefined ? 0 : FLAG.startAt) |
      (endAt === undefined ? 0 : FLAG.endAt) |
      (limit === undefined ? 0 : FLAG.limit) |
      (isPaused ? FLAG.isPaused : 0) |
      (failure === '' ? 0 : FLAG.failure),
  );
  record.text(schedule.key);
  record.raw(bytesOf(schedule.seed));
  record.varint(schedule.channel.number);
  record.varint(schedule.policy.number);
  record.f64(schedule.createdAt);
  if ('cron' in rule) {
    record.text(rule.cron);
    record.text(rule.timeZone);
  } else record.f64(rule.everyMs);
  record.f64(settings.jitterMs);
  record.u8(MISSED.indexOf(settings.missed));
  record.u8(OVERLAP.indexOf(settings.overlap));
  if (startAt !== undefined) record.f64(startAt);
  if (endAt !== undefined) record.f64(endAt);
  if (limit !== undefined) record.varint(limit);
  record.f64(schedule.anchorAt);
  record.varint(schedule.templateBytes);
  record.f64(schedule.nextAt);
  record.f64(schedule.dueAt);
  record.varint(schedule.ticks);
  record.f64(schedule.lastAt);
  record.varint(schedule.lastSeq);
  record.f64(schedule.skippedAt);
  record.varint(schedule.late);
  record.f64(schedule.queuedUpTo);
  if (failure !== '') record.text(failure);
  return record.finish();
}

export function readSchedule(number: number, value: Uint8Array): StoredSchedule {
  const reader = new ByteReader(value, 1);
  const flags = reader.varint();
  return {
    number,
    key: reader.text(),
    seed: textOf(reader.raw(SEED_BYTES)),
    channel: reader.varint(),
    policy: reader.varint(),
    createdAt: reader.f64(),
    settings: readSettings(reader, flags),
    anchorAt: reader.f64(),
    templateBytes: reader.varint(),
    isPaused: (flags & FLAG.isPaused) !== 0,
    nextAt: reader.f64(),
    dueAt: reader.f64(),
    isPlaced: false,
    ticks: reader.varint(),
    lastAt: reader.f64(),
    lastSeq: reader.varint(),
    skippedAt: reader.f64(),
    late: reader.varint(),
    queuedUpTo: reader.f64(),
    failure: flags & FLAG.failure ? reader.text() : '',
  };
}

function readSettings(reader: ByteReader, flags: number): ScheduleSettings {
  const rule =
    flags & FLAG.cron ? { cron: reader.text(), timeZone: reader.text() } : ({ everyMs: reader.f64() } as const);
  const jitterMs = reader.f64();
  const missed = MISSED[reader.u8()] ?? 'one';
  const overlap = OVERLAP[reader.u8()] ?? 'allow';
  return {
    rule,
    startAt: flags & FLAG.startAt ? reader.f64() : undefined,
    endAt: flags & FLAG.endAt ? reader.f64() : undefined,
    limit: flags & FLAG.limit ? reader.varint() : undefined,
    jitterMs,
    missed,
    overlap,
  };
}
