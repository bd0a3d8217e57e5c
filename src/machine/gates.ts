/**
 * Gates: what lets the messages of a channel, or of a group, through no faster than its rate, and not at all while a handler
 * has asked for that.
 *
 * A bucket leaks evenly: what has gone through lately is its level, and there is room up to `burst`. A window counts what
 * has gone through since the first message behind the window before. What takes more than there can ever be room for goes
 * when nothing else has gone lately, and is counted in full: those behind it wait the longer.
 */
import type { Rate } from '../model/policy.ts';
import type { Gate } from './memory.ts';
import type { MachineState } from './state.ts';

/** When the gate lets a message of this cost through, if nothing else goes before: `now` at the earliest. */
export function opensAt(gate: Gate, rate: Rate | null, cost: number, now: number): number {
  const heldUntil = Math.max(now, gate.heldUntil);
  if (rate === null || gate.used === 0) return heldUntil;
  const most = rate.kind === 'bucket' ? rate.burst : rate.count;
  const tooMuch = gate.used + Math.min(cost, most) - most;
  if (tooMuch <= 0) return heldUntil;
  const waits =
    rate.kind === 'bucket' ? (tooMuch * rate.perMs) / rate.count : Math.ceil(tooMuch / rate.count) * rate.perMs;
  return Math.max(heldUntil, Math.ceil(gate.usedAt + waits));
}

/** Counts what goes through now. */
export function pass(gate: Gate, rate: Rate | null, cost: number, now: number): void {
  if (rate === null) return;
  settle(gate, rate, now);
  if (gate.used === 0) gate.usedAt = now;
  gate.used += cost;
}

/** Brings what has gone through lately up to date. */
function settle(gate: Gate, rate: Rate, now: number): void {
  const passed = Math.max(0, now - gate.usedAt);
  if (rate.kind === 'bucket') {
    gate.used = Math.max(0, gate.used - (passed * rate.count) / rate.perMs);
    gate.usedAt = now;
    return;
  }
  const windows = Math.floor(passed / rate.perMs);
  gate.used = Math.max(0, gate.used - windows * rate.count);
  gate.usedAt += windows * rate.perMs;
}

/** From when on nothing of the past counts any more. */
export function restsAt({ used, usedAt, heldUntil }: Gate, rate: Rate | null): number {
  if (rate === null || used === 0) return heldUntil;
  const lasts = rate.kind === 'bucket' ? (used * rate.perMs) / rate.count : Math.ceil(used / rate.count) * rate.perMs;
  return Math.max(heldUntil, usedAt + lasts);
}

/** Has the gate looked at again at that time, or before. */
export function wakeGate(state: MachineState, gate: Gate, at: number): void {
  if (gate.wakesAt !== 0 && gate.wakesAt <= at) return;
  if (gate.wakesAt !== 0) state.gates.remove(gate);
  gate.wakesAt = at;
  state.gates.add(gate);
}

export function sleepGate(state: MachineState, gate: Gate): void {
  if (gate.wakesAt === 0) return;
  state.gates.remove(gate);
  gate.wakesAt = 0;
}
