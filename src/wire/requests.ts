/**
 * The REQUESTS frame: commands of a client. Produce, window, started and settle are compact; the rare rest is a
 * BSON document behind its length.
 *
 * ```
 * request  = kind(u8) request(varint) body
 * produce  = ref(varint) flags(u8) blocks                              1: atomic, 2: versioned
 * blocks   = count(varint) (length(varint) block)*
 * window   = consumer(varint) ref(varint) size(varint) handlers(varint)
 * started, holding = count(varint) (seq(varint) token(varint))*
 * settle   = count(varint) (seq token outcome(u8) [fields] [produced] [effects] [edges])*
 * settleTogether = settle flags(u8) [produced] [effects]
 * update   = id(16) flags(u8) [delayMs(f64)] [dueAt(f64)] [priority(signed)] [codec(u8) payload(bytes)]
 * kvRead, kvCommit, kvWatch, effects                                   see kv.ts
 * flow, edges                                                          see flow.ts
 * ```
 */
import { decode, encode } from '../codec/bson.ts';
import { BlockReader, MAX_DUE_AT, MAX_PRIORITY } from '../model/block.ts';
import { ByteReader, ByteWriter } from '../model/bytes.ts';
import type { Command, LeaseKey, Outcome, Produce, Request, Settle, SettleSet, Together } from '../model/command.ts';
import type { Failure } from '../model/failure.ts';
import { MAX_DURATION_MS } from '../model/duration.ts';
import type { FlowEdge, FlowPart } from '../model/flow.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Update } from '../model/life.ts';
import { MESSAGE_ID_BYTES } from '../model/message-id.ts';
import { MAX_VALUE_BYTES } from '../model/records.ts';
import { readList } from '../model/reply.ts';
import { bullBytes, readBull, writeBull } from './bull.ts';
import { checkDocument } from './documents.ts';
import { readEdges, readFlow, writeEdges, writeFlow } from './flow.ts';
import { FRAME } from './frames.ts';
import { effectsBytes, readEffects, readKeys, readRanges, writeEffects, writeKeys, writeRanges } from './kv.ts';

const KIND = {
  produce: 1,
  window: 2,
  started: 3,
  settle: 4,
  document: 5,
  holding: 6,
  kvRead: 7,
  kvCommit: 8,
  kvWatch: 9,
  settleTogether: 10,
  flow: 11,
  update: 12,
  bull: 13,
} as const;

const PRODUCE = { atomic: 1, versioned: 2 } as const;

/** Which changes an update makes; `lifo` has no field. */
const UPDATE = { delay: 1, dueAt: 2, priority: 4, payload: 8, lifo: 16 } as const;

const OUTCOMES = [
  'ack',
  'nack',
  'undecodable',
  'release',
  'snooze',
  'fail',
  'died',
  'hold',
  'holdGroup',
  'wait',
] as const;

/** Set in an outcome's byte when effects on KV or messages come with it, or when it has a result or a delay. */
const WITH_EFFECTS = 0x20;
const WITH_PRODUCED = 0x40;
const WITH_VALUE = 0x80;

/** A rare command as a document takes at most this many bytes. */
const MAX_DOCUMENT_BYTES = 1024 * 1024;

/** Prefetch and concurrency are at most 10,000 each. */
const MAX_WINDOW = 20_000;

/** A payload or result has at most 4 MiB; a block is stored as one record, with some bytes around it. */
const MAX_PAYLOAD_BYTES: number = 4 * 1024 * 1024;
const MAX_BLOCK_BYTES: number = MAX_VALUE_BYTES - 1_024;

/**
 * What a frame may hold: each request counts as 8, each settle, each key, check or mutation of KV, and each edge of a flow, as 4, each lease as 1. Their smallest forms take far less
 * in a frame than in memory.
 */
const MAX_COST = 1_000_000;
const COST = { request: 8, settle: 4, key: 4, lease: 1 } as const;

/** What one of these costs takes in memory, roughly, in bytes. */
const COST_BYTES = 64;

export interface RequestsFrame {
  readonly answeredUpTo: number;
  readonly requests: readonly Request[];
}

export function encodeRequests({ answeredUpTo, requests }: RequestsFrame): Uint8Array<ArrayBuffer> {
  const frame = new ByteWriter(requests.reduce((sum, { command }) => sum + roughBytes(command), 64));
  frame.u8(FRAME.requests);
  frame.varint(answeredUpTo);
  for (const request of requests) writeRequest(frame, request);
  return frame.take();
}

/**
 * Reads a frame of commands and checks all that the machine relies on.
 *
 * @throws HoldfastError `PROTOCOL` for bytes that are no such frame
 */
export function decodeRequests(bytes: Uint8Array): RequestsFrame & { readonly memoryBytes: number } {
  const frame = new ByteReader(bytes, 1);
  const answeredUpTo = frame.varint();
  const requests: Request[] = [];
  const cost = { left: MAX_COST };
  while (frame.left > 0) {
    spend(cost, COST.request);
    requests.push(readRequest(frame, cost));
  }
  return { answeredUpTo, requests, memoryBytes: bytes.length + (MAX_COST - cost.left) * COST_BYTES };
}

interface Cost {
  left: number;
}

function spend(cost: Cost, spent: number): void {
  cost.left -= spent;
  if (cost.left < 0) throw new HoldfastError('PROTOCOL', 'Cannot read a frame: it holds more commands than it may');
}

/** About what a command takes in a frame: rather more than less, so that the frame need not grow. */
export function roughBytes(command: Command): number {
  if (command.kind === 'produce') return command.blocks.reduce((sum, block) => sum + block.length + 8, 32);
  if (command.kind === 'settle') {
    const bytes = command.together === undefined ? 16 : 16 + effectsOf(command.together);
    return command.settles.reduce((sum, settle) => sum + settleBytes(settle), bytes);
  }
  if (command.kind === 'flow') return producedBytes(command.produced) + edgesBytes(command.edges);
  if (command.kind === 'kvCommit') return effectsBytes(command) + producedBytes(command.produced);
  if (command.kind === 'update') return 64 + (command.payload?.bytes.length ?? 0);
  if (command.kind === 'bull') return bullBytes(command);
  return 256;
}

function settleBytes(settle: Settle): number {
  const { outcome } = settle;
  const rest = outcome.kind === 'wait' ? edgesBytes(outcome.edges) : 0;
  return 16 + effectsOf(settle) + (outcome.kind === 'ack' ? (outcome.result?.length ?? 0) : rest);
}

function effectsOf({ produced, effects }: Together): number {
  return producedBytes(produced ?? []) + (effects === undefined ? 0 : effectsBytes(effects));
}

function edgesBytes(edges: readonly FlowEdge[]): number {
  return edges.reduce((sum, { key = '' }) => sum + 16 + key.length, 64);
}

function producedBytes(produced: readonly FlowPart[]): number {
  let bytes = 0;
  for (const { blocks } of produced) for (const block of blocks) bytes += block.length + 8;
  return bytes;
}

function writeRequest(frame: ByteWriter, { request, command }: Request): void {
  switch (command.kind) {
    case 'produce':
      frame.u8(KIND.produce);
      frame.varint(request);
      frame.varint(command.ref);
      frame.u8((command.atomic ? PRODUCE.atomic : 0) | (command.versioned === true ? PRODUCE.versioned : 0));
      writeBlocks(frame, command.blocks);
      break;
    case 'window':
      frame.u8(KIND.window);
      frame.varint(request);
      frame.varint(command.consumer);
      frame.varint(command.ref);
      frame.varint(command.size);
      frame.varint(command.handlers ?? command.size);
      break;
    case 'started':
    case 'holding':
      frame.u8(KIND[command.kind]);
      frame.varint(request);
      frame.varint(command.leases.length);
      for (const { seq, token } of command.leases) {
        frame.varint(seq);
        frame.varint(token);
      }
      break;
    case 'settle':
      frame.u8(command.together === undefined ? KIND.settle : KIND.settleTogether);
      frame.varint(request);
      frame.varint(command.settles.length);
      for (const settle of command.settles) writeSettle(frame, settle);
      if (command.together !== undefined) writeTogether(frame, command.together);
      break;
    case 'kvRead':
      frame.u8(KIND.kvRead);
      frame.varint(request);
      writeKeys(frame, command.keys);
      writeRanges(frame, command.ranges);
      break;
    case 'kvCommit':
      frame.u8(KIND.kvCommit);
      frame.varint(request);
      writeEffects(frame, command);
      writeProduced(frame, command.produced);
      break;
    case 'kvWatch':
      frame.u8(KIND.kvWatch);
      frame.varint(request);
      frame.varint(command.watch);
      writeKeys(frame, command.keys);
      break;
    case 'flow':
      frame.u8(KIND.flow);
      frame.varint(request);
      writeFlow(frame, command, writeProduced);
      break;
    case 'update':
      frame.u8(KIND.update);
      frame.varint(request);
      writeUpdate(frame, command);
      break;
    case 'bull':
      frame.u8(KIND.bull);
      frame.varint(request);
      writeBull(frame, command);
      break;
    default:
      frame.u8(KIND.document);
      frame.varint(request);
      frame.bytes(encode(command));
  }
}

function readRequest(frame: ByteReader, cost: Cost): Request {
  const kind = frame.u8();
  const request = frame.varint();
  return { request, command: readCommand(frame, kind, cost) };
}

function readCommand(frame: ByteReader, kind: number, cost: Cost): Command {
  const spendKey = (): void => spend(cost, COST.key);
  switch (kind) {
    case KIND.produce:
      return readProduce(frame);
    case KIND.window:
      return {
        kind: 'window',
        consumer: frame.varint(),
        ref: frame.varint(),
        size: readWindow(frame),
        handlers: readWindow(frame),
      };
    case KIND.started:
      return { kind: 'started', leases: readLeases(frame, cost) };
    case KIND.holding:
      return { kind: 'holding', leases: readLeases(frame, cost) };
    case KIND.settle:
      return { kind: 'settle', settles: readList(frame, (from) => readSettle(from, cost)) };
    case KIND.settleTogether:
      return readSettleTogether(frame, cost);
    case KIND.kvRead:
      return { kind: 'kvRead', keys: readKeys(frame, spendKey), ranges: readRanges(frame, spendKey) };
    case KIND.kvCommit:
      return { kind: 'kvCommit', ...readEffects(frame, spendKey), produced: readProduced(frame) };
    case KIND.kvWatch:
      return { kind: 'kvWatch', watch: frame.varint(), keys: readKeys(frame, spendKey) };
    case KIND.flow:
      return readFlow(frame, readProduced, spendKey);
    case KIND.update:
      return readUpdate(frame);
    case KIND.bull:
      return readBull(frame);
    case KIND.document:
      return readDocument(frame.bytes());
    default:
      throw new HoldfastError('PROTOCOL', `Cannot read a command of kind ${kind}`);
  }
}

function readProduce(frame: ByteReader): Produce {
  const ref = frame.varint();
  const flags = frame.u8();
  const atomic = (flags & PRODUCE.atomic) !== 0;
  const blocks = readBlocks(frame);
  return { kind: 'produce', ref, atomic, blocks, ...((flags & PRODUCE.versioned) !== 0 && { versioned: true }) };
}

function readWindow(frame: ByteReader): number {
  const size = frame.varint();
  if (size <= MAX_WINDOW) return size;
  throw new HoldfastError('PROTOCOL', `Cannot open a window of ${size} messages: at most ${MAX_WINDOW}`);
}

function readLeases(frame: ByteReader, cost: Cost): LeaseKey[] {
  return readList(frame, (from) => {
    spend(cost, COST.lease);
    return { seq: from.varint(), token: from.varint() };
  });
}

function writeBlocks(frame: ByteWriter, blocks: readonly Uint8Array[]): void {
  frame.varint(blocks.length);
  for (const block of blocks) frame.bytes(block);
}

function readBlocks(frame: ByteReader): Uint8Array[] {
  return readList(frame, (from) => {
    const block = from.bytes();
    if (block.length > MAX_BLOCK_BYTES) {
      throw new HoldfastError('PROTOCOL', `Cannot take a block of ${block.length} bytes: at most ${MAX_BLOCK_BYTES}`);
    }
    const reader = new BlockReader(block);
    while (reader.next()) {
      if (!reader.isSound()) throw new HoldfastError('PROTOCOL', 'Cannot read a block: an item has impossible options');
    }
    if (reader.end !== block.length || reader.count === 0) {
      throw new HoldfastError('PROTOCOL', 'Cannot read a block: its items do not fill it');
    }
    return block;
  });
}

function writeSettle(frame: ByteWriter, { seq, token, outcome, produced, effects }: Settle): void {
  frame.varint(seq);
  frame.varint(token);
  const value =
    outcome.kind === 'ack' ? outcome.result !== undefined : 'delayMs' in outcome && outcome.delayMs !== undefined;
  frame.u8(
    OUTCOMES.indexOf(outcome.kind === 'hold' && outcome.what === 'group' ? 'holdGroup' : outcome.kind) |
      (effects === undefined ? 0 : WITH_EFFECTS) |
      (produced === undefined ? 0 : WITH_PRODUCED) |
      (value ? WITH_VALUE : 0),
  );
  if (outcome.kind === 'ack' && outcome.result !== undefined) frame.bytes(outcome.result);
  if ('delayMs' in outcome && outcome.delayMs !== undefined) frame.f64(outcome.delayMs);
  if ('failure' in outcome) writeFailure(frame, outcome.failure);
  if (produced !== undefined) writeProduced(frame, produced);
  if (effects !== undefined) writeEffects(frame, effects);
  if (outcome.kind === 'wait') writeEdges(frame, outcome.edges);
}

function writeTogether(frame: ByteWriter, { produced, effects }: Together): void {
  frame.u8((effects === undefined ? 0 : WITH_EFFECTS) | (produced === undefined ? 0 : WITH_PRODUCED));
  if (produced !== undefined) writeProduced(frame, produced);
  if (effects !== undefined) writeEffects(frame, effects);
}

function readSettleTogether(frame: ByteReader, cost: Cost): SettleSet {
  const settles = readList(frame, (from) => readSettle(from, cost));
  if (settles.some(({ produced, effects }) => produced !== undefined || effects !== undefined)) {
    throw new HoldfastError('PROTOCOL', 'Cannot settle together what brings effects of its own');
  }
  const flags = frame.u8();
  const produced = flags & WITH_PRODUCED ? readProduced(frame) : undefined;
  const effects = flags & WITH_EFFECTS ? readEffects(frame, () => spend(cost, COST.key)) : undefined;
  return { kind: 'settle', settles, together: { produced, effects } };
}

function writeProduced(frame: ByteWriter, produced: readonly FlowPart[]): void {
  frame.varint(produced.length);
  for (const { ref, blocks } of produced) {
    frame.varint(ref);
    writeBlocks(frame, blocks);
  }
}

function readProduced(frame: ByteReader): Omit<Produce, 'atomic'>[] {
  return readList(frame, (from) => ({ kind: 'produce', ref: from.varint(), blocks: readBlocks(from) }));
}

function readSettle(frame: ByteReader, cost: Cost): Settle {
  spend(cost, COST.settle);
  const seq = frame.varint();
  const token = frame.varint();
  const flags = frame.u8();
  const kind = OUTCOMES[flags & 0x1f];
  const spendKey = (): void => spend(cost, COST.key);
  const told = kind === 'wait' ? undefined : readOutcome(frame, kind, (flags & WITH_VALUE) !== 0);
  const produced = flags & WITH_PRODUCED ? readProduced(frame) : undefined;
  const effects = flags & WITH_EFFECTS ? readEffects(frame, spendKey) : undefined;
  const outcome = told ?? { kind: 'wait', edges: readEdges(frame, produced ?? [], true, spendKey) };
  return { seq, token, outcome, produced, effects };
}

function readOutcome(
  frame: ByteReader,
  kind: Exclude<(typeof OUTCOMES)[number], 'wait'> | undefined,
  value: boolean,
): Outcome {
  switch (kind) {
    case 'ack':
      return { kind, result: value ? readResult(frame) : undefined };
    case 'nack': {
      const delayMs = value ? readDelay(frame) : undefined;
      return { kind, delayMs, failure: readFailure(frame) };
    }
    case 'snooze':
      return { kind, delayMs: value ? readDelay(frame) : 0 };
    case 'hold':
    case 'holdGroup':
      return { kind: 'hold', what: kind === 'hold' ? 'channel' : 'group', delayMs: value ? readDelay(frame) : 0 };
    case 'release':
      return { kind };
    case 'undecodable':
    case 'fail':
    case 'died':
      return { kind, failure: readFailure(frame) };
    case undefined:
      throw new HoldfastError('PROTOCOL', 'Cannot read an outcome of an unknown kind');
  }
}

function writeUpdate(frame: ByteWriter, { id, delayMs, dueAt, priority, lifo, payload }: Update): void {
  frame.raw(id);
  frame.u8(
    (delayMs === undefined ? 0 : UPDATE.delay) |
      (dueAt === undefined ? 0 : UPDATE.dueAt) |
      (priority === undefined ? 0 : UPDATE.priority) |
      (payload === undefined ? 0 : UPDATE.payload) |
      (lifo === true ? UPDATE.lifo : 0),
  );
  if (delayMs !== undefined) frame.f64(delayMs);
  if (dueAt !== undefined) frame.f64(dueAt);
  if (priority !== undefined) frame.signed(priority);
  if (payload === undefined) return;
  frame.u8(payload.codec);
  frame.bytes(payload.bytes);
}

function readUpdate(frame: ByteReader): Update {
  const id = frame.raw(MESSAGE_ID_BYTES).slice();
  const flags = frame.u8();
  const delayMs = flags & UPDATE.delay ? readDelay(frame) : undefined;
  const dueAt = flags & UPDATE.dueAt ? frame.f64() : undefined;
  const priority = flags & UPDATE.priority ? frame.signed() : undefined;
  const payload = flags & UPDATE.payload ? { codec: frame.u8(), bytes: frame.bytes() } : undefined;
  const isSound =
    flags < UPDATE.lifo * 2 &&
    (dueAt === undefined || Math.abs(dueAt) <= MAX_DUE_AT) &&
    (priority === undefined || Math.abs(priority) <= MAX_PRIORITY) &&
    (payload === undefined || payload.bytes.length <= MAX_PAYLOAD_BYTES);
  if (!isSound) throw new HoldfastError('PROTOCOL', 'Cannot read an update: it has impossible fields');
  return { kind: 'update', id, delayMs, dueAt, priority, payload, lifo: (flags & UPDATE.lifo) !== 0 };
}

function readResult(frame: ByteReader): Uint8Array {
  const result = frame.bytes();
  if (result.length <= MAX_PAYLOAD_BYTES) return result;
  throw new HoldfastError('PROTOCOL', `Cannot keep a result of ${result.length} bytes: at most ${MAX_PAYLOAD_BYTES}`);
}

function readDelay(frame: ByteReader): number {
  const delayMs = frame.f64();
  if (delayMs >= 0 && delayMs <= MAX_DURATION_MS) return delayMs;
  throw new HoldfastError('PROTOCOL', `Cannot wait ${delayMs} ms`);
}

export function writeFailure(frame: ByteWriter, { name, message, stack }: Failure): void {
  frame.text(name);
  frame.text(message);
  frame.text(stack ?? '');
}

export function readFailure(frame: ByteReader): Failure {
  const name = frame.text();
  const message = frame.text();
  const stack = frame.text();
  return { name, message, stack: stack === '' ? undefined : stack };
}

function readDocument(bytes: Uint8Array): Command {
  return checkDocument(decode(bytes, { maxBytes: MAX_DOCUMENT_BYTES }));
}
