/**
 * The records of BullMQ's queues, and the procedure for changing them. A key is the number of the queue, then the part:
 *
 * | part | key behind it | record |
 * |---|---|---|
 * | head | | the name of the queue, its fields and counters |
 * | pack | pack | entries of jobs, see `packs.ts`: a body with its state, a state, or that it is gone |
 * | outcome | job | progress, why it failed |
 * | result | job | a long return value; a short one stands in the state |
 * | logs | job | its log |
 * | child | job, key of the child | what became of a child |
 * | dedupe | id of the deduplication | the job that stands for it, and the one that follows |
 * | scheduler | id of the scheduler | its fields, and when it is next due |
 * | points | 0 completed, 1 failed | counts by the minute |
 * | events | number of the first | some events |
 *
 * Each begins with a version byte: to change a record, raise it, keep reading the old one, and write the new one only.
 */
import { BULL_CHILDREN, BULL_STATES, type BullAdd, type BullChildren } from '../../model/bull.ts';
import { ByteReader, ByteWriter } from '../../model/bytes.ts';
import type { Key, Value } from '../../model/records.ts';
import type { Layout } from '../layout.ts';
import { KIND } from '../layout.ts';
import type {
  BullDedupeKey,
  BullEvent,
  BullJob,
  BullJobBody,
  BullLock,
  BullMetrics,
  BullQueue,
  BullScheduler,
} from './memory.ts';

export const PART = {
  head: 0,
  pack: 1,
  outcome: 3,
  logs: 4,
  child: 5,
  dedupe: 6,
  scheduler: 7,
  points: 8,
  events: 9,
  result: 10,
} as const;

const VERSION = 1;

/** What an entry of a pack is; the number of the job stands behind it. */
const ENTRY = { body: 1, state: 2, gone: 3 } as const;

/** A return value of more characters has a record of its own, as the state is written whenever the job moves. */
const SHORT_RESULT = 1_024;

/** A record of events is closed when it has this many bytes; one event more may be in it. */
const EVENT_BYTES: number = 256 * 1024;

const scratch = new ByteWriter(4_096);
const encoder = new TextEncoder();

interface Keys {
  readonly layout: Layout;
}

export function queuePartKey({ layout }: Keys, { number }: BullQueue, part: number, ...rest: number[]): Key {
  return layout.key(KIND.bull, number, part, ...rest);
}

export function jobKey(keys: Keys, { queue, seq }: BullJob, part: number): Key {
  return queuePartKey(keys, queue, part, seq);
}

export function childKeyOf({ layout }: Keys, { queue, seq }: BullJob, key: string): Key {
  return layout.bytesKey(KIND.bull, encoder.encode(key), queue.number, PART.child, seq);
}

export function namedKey({ layout }: Keys, { number }: BullQueue, part: number, name: string): Key {
  return layout.bytesKey(KIND.bull, encoder.encode(name), number, part);
}

/** What the head holds besides the fields. */
interface StoredHead {
  readonly qualified: string;
  readonly meta: readonly (readonly [string, string])[];
  readonly nextJob: number;
  readonly limit: readonly [count: number, until: number];
  readonly metrics: readonly (readonly [count: number, prevAt: number | null, prevCount: number])[];
  readonly firstEvent: number;
}

export function encodeHead(queue: BullQueue): Value {
  const { qualified, meta, nextJob, limitCount, limitUntil, metrics, events } = queue;
  const counts = [metrics.completed, metrics.failed].map(
    ({ count, prevAt = null, prevCount }) => [count, prevAt, prevCount] as const,
  );
  const head: StoredHead = {
    qualified,
    meta: [...meta],
    nextJob,
    limit: [limitCount, limitUntil],
    metrics: counts,
    firstEvent: events.first,
  };
  return encodeJson(head);
}

export function readHeadName(value: Value): string {
  return readJson<StoredHead>(value).qualified;
}

export function readHead(queue: BullQueue, value: Value): void {
  const head = readJson<StoredHead>(value);
  for (const [field, text] of head.meta) queue.meta.set(field, text);
  queue.nextJob = head.nextJob;
  [queue.limitCount, queue.limitUntil] = head.limit;
  [queue.metrics.completed, queue.metrics.failed].forEach((metrics, i) => {
    const [count = 0, prevAt = null, prevCount = 0] = head.metrics[i] ?? [];
    Object.assign(metrics, { count, prevAt: prevAt ?? undefined, prevCount });
  });
  queue.events.first = head.firstEvent;
}

export function startPack(pack: ByteWriter): void {
  pack.clear();
  pack.u8(VERSION);
}

/** Texts that a job may lack have a bit each. */
export function writeBodyEntry(pack: ByteWriter, job: BullJob): void {
  pack.u8(ENTRY.body);
  pack.varint(job.seq);
  pack.text(job.id);
  pack.text(job.name);
  pack.text(job.data);
  pack.text(job.opts);
  pack.f64(job.timestamp);
  writeTexts(pack, [job.schedulerId, job.deduplicationId]);
  writeState(pack, job);
}

export function writeStateEntry(pack: ByteWriter, job: BullJob): void {
  pack.u8(ENTRY.state);
  pack.varint(job.seq);
  writeState(pack, job);
}

export function writeGoneEntry(pack: ByteWriter, seq: number): void {
  pack.u8(ENTRY.gone);
  pack.varint(seq);
}

/** What the state of a job consists of in the store; the session by its number, 0 for none. */
export type StoredState = Pick<
  BullJob,
  | 'state'
  | 'score'
  | 'order'
  | 'delay'
  | 'priority'
  | 'attemptsMade'
  | 'attemptsStarted'
  | 'stalledCounter'
  | 'processedOn'
  | 'finishedOn'
  | 'parentKey'
  | 'parent'
  | 'deferredFailure'
  | 'processedBy'
  | 'returnvalue'
> & {
  readonly lock: (Omit<BullLock, 'session'> & { readonly session: number }) | undefined;
};

/** Who is told what a pack says, entry for entry. */
export interface PackReader {
  body(seq: number, body: BullJobBody, state: StoredState, bytes: number): void;
  state(seq: number, state: StoredState, bytes: number): void;
  gone(seq: number): void;
}

export function readPack(value: Value, to: PackReader): void {
  const reader = new ByteReader(value, 1);
  while (reader.left > 0) {
    const start = reader.at;
    const entry = reader.u8();
    const seq = reader.varint();
    if (entry === ENTRY.gone) to.gone(seq);
    else {
      const body = entry === ENTRY.body ? readBody(reader) : undefined;
      const state = readState(reader);
      if (body === undefined) to.state(seq, state, reader.at - start);
      else to.body(seq, body, state, reader.at - start);
    }
  }
}

function readBody(reader: ByteReader): BullJobBody {
  const body = {
    id: reader.text(),
    name: reader.text(),
    data: reader.text(),
    opts: reader.text(),
    timestamp: reader.f64(),
  };
  const [schedulerId, deduplicationId] = readTexts(reader, 2);
  return { ...body, schedulerId, deduplicationId };
}

function writeState(pack: ByteWriter, job: BullJob): void {
  pack.u8(job.state === undefined ? BULL_STATES.length : BULL_STATES.indexOf(job.state));
  pack.f64(job.score);
  pack.signed(job.order);
  pack.f64(job.delay);
  pack.signed(job.priority);
  pack.varint(job.attemptsMade);
  pack.varint(job.attemptsStarted);
  pack.varint(job.stalledCounter);
  pack.f64(job.processedOn ?? 0);
  pack.f64(job.finishedOn ?? 0);
  const { lock } = job;
  const result = hasLongResult(job) ? undefined : job.returnvalue;
  writeTexts(pack, [job.parentKey, job.parent, job.deferredFailure, job.processedBy, lock?.token, result]);
  if (lock !== undefined) {
    pack.f64(lock.until);
    pack.varint(lock.maxStalled);
    pack.varint(lock.session?.number ?? 0);
  }
}

function readState(reader: ByteReader): StoredState {
  const state = BULL_STATES[reader.u8()];
  const numbers = {
    score: reader.f64(),
    order: reader.signed(),
    delay: reader.f64(),
    priority: reader.signed(),
    attemptsMade: reader.varint(),
    attemptsStarted: reader.varint(),
    stalledCounter: reader.varint(),
    processedOn: reader.f64() || undefined,
    finishedOn: reader.f64() || undefined,
  };
  const [parentKey, parent, deferredFailure, processedBy, token, returnvalue] = readTexts(reader, 6);
  const lock =
    token === undefined
      ? undefined
      : { token, until: reader.f64(), maxStalled: reader.varint(), session: reader.varint() };
  return { state, ...numbers, parentKey, parent, deferredFailure, processedBy, returnvalue, lock };
}

/** Whether there is anything to be kept in the record of the outcome. */
export function hasOutcome({ progress, failedReason, stacktrace }: BullJob): boolean {
  return (progress ?? failedReason ?? stacktrace) !== undefined;
}

export function encodeOutcome({ progress, failedReason, stacktrace }: BullJob): Value {
  scratch.clear();
  scratch.u8(VERSION);
  writeTexts(scratch, [progress, failedReason, stacktrace]);
  return scratch.finish();
}

export function hasLongResult({ returnvalue = '' }: BullJob): boolean {
  return returnvalue.length > SHORT_RESULT;
}

export function encodeResult({ returnvalue = '' }: BullJob): Value {
  scratch.clear();
  scratch.u8(VERSION);
  scratch.text(returnvalue);
  return scratch.finish();
}

export function readResult(job: BullJob, value: Value): void {
  job.hasResultRecord = true;
  job.returnvalue = new ByteReader(value, 1).text();
}

export function readOutcome(job: BullJob, value: Value): void {
  const [progress, failedReason, stacktrace] = readTexts(new ByteReader(value, 1), 3);
  Object.assign(job, { progress, failedReason, stacktrace });
}

export function encodeLogs({ logs = [] }: BullJob): Value {
  return encodeJson(logs);
}

export function readLogs(job: BullJob, value: Value): void {
  job.logs = readJson<string[]>(value);
}

export function encodeChild(kind: BullChildren, text: string): Value {
  scratch.clear();
  scratch.u8(VERSION);
  scratch.u8(BULL_CHILDREN.indexOf(kind));
  scratch.text(text);
  return scratch.finish();
}

export function readChild(value: Value): { kind: BullChildren; text: string } {
  const reader = new ByteReader(value, 1);
  return { kind: BULL_CHILDREN[reader.u8()] ?? 'unprocessed', text: reader.text() };
}

interface StoredDedupe {
  readonly jobId: string;
  readonly until: number;
  /** The data of the job stand behind the rest, as they are. */
  readonly next?: { readonly add: BullAdd; readonly jobId: string };
}

export function encodeDedupe({ jobId, until, next }: BullDedupeKey): Value {
  const data = next?.add.data ?? '';
  const bare = next && { ...next, add: { ...next.add, data: '' } };
  const stored: StoredDedupe = { jobId, until, ...(bare && { next: bare }) };
  scratch.clear();
  scratch.u8(VERSION);
  scratch.text(JSON.stringify(stored));
  scratch.text(data);
  return scratch.finish();
}

export function readDedupe(id: string, value: Value): BullDedupeKey {
  const reader = new ByteReader(value, 1);
  const { jobId, until, next } = JSON.parse(reader.text()) as StoredDedupe;
  const data = reader.text();
  return { id, jobId, until, next: next && { ...next, add: { ...next.add, data } } };
}

export function encodeScheduler({ fields, nextAt }: BullScheduler): Value {
  return encodeJson({ fields, nextAt });
}

export function readScheduler(id: string, value: Value): BullScheduler {
  return { id, ...readJson<Omit<BullScheduler, 'id'>>(value) };
}

export function encodePoints({ points }: BullMetrics): Value {
  return encodeJson(points);
}

export function readPoints(value: Value): number[] {
  return readJson<number[]>(value);
}

/** Encodes events from this one on, as many as fit into one record; gives the first that did not. */
export function encodeEvents(events: readonly BullEvent[], from: number): { value: Value; next: number } {
  scratch.clear();
  scratch.u8(VERSION);
  let next = from;
  for (; next < events.length && scratch.length < EVENT_BYTES; next++) {
    const { at, nth, fields } = events[next] as BullEvent;
    scratch.f64(at);
    scratch.varint(nth);
    scratch.varint(fields.length);
    for (const field of fields) scratch.text(field);
  }
  return { value: scratch.finish(), next };
}

export function readEventRecord(value: Value): BullEvent[] {
  const reader = new ByteReader(value, 1);
  const events: BullEvent[] = [];
  while (reader.left > 0) {
    const at = reader.f64();
    const nth = reader.varint();
    events.push({ at, nth, fields: Array.from({ length: reader.varint() }, () => reader.text()) });
  }
  return events;
}

export function nameIn(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
}

function encodeJson(value: unknown): Value {
  scratch.clear();
  scratch.u8(VERSION);
  scratch.text(JSON.stringify(value));
  return scratch.finish();
}

function readJson<T>(value: Value): T {
  return JSON.parse(new ByteReader(value, 1).text()) as T;
}

function writeTexts(writer: ByteWriter, texts: readonly (string | undefined)[]): void {
  let bits = 0;
  for (let i = 0; i < texts.length; i++) if (texts[i] !== undefined) bits |= 1 << i;
  writer.u8(bits);
  for (const text of texts) if (text !== undefined) writer.text(text);
}

function readTexts(reader: ByteReader, count: number): (string | undefined)[] {
  const bits = reader.u8();
  return Array.from({ length: count }, (_, i) => (bits & (1 << i) ? reader.text() : undefined));
}
