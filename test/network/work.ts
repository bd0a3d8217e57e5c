import type { Channel, Holdfast } from 'holdfast';
import { expect } from 'vitest';
import { untilTrue } from '../helpers/until-true.ts';
import type { Said } from './processes.ts';

/** A message for `programs/worker.mjs`. */
export interface Work {
  readonly n: number;
  readonly act?: 'hold' | 'block';
  readonly ms?: number;
}

export interface Effect {
  readonly n: number;
  readonly by: string;
}

/** The channel that workers work on. */
export const workOf = (hf: Holdfast): Channel<Work> => hf.channel<Work>('work');
/** The channel of what they did. */
export const effectsOf = (hf: Holdfast): Channel<Effect> => hf.channel<Effect>('effect');

export const hasStarted =
  (n: number) =>
  ({ started }: Said): boolean =>
    started === n;
export const hasEnded =
  (n: number) =>
  ({ ended }: Said): boolean =>
    ended === n;
export const isLeaseLost = ({ error }: Said): boolean => error === 'LEASE_LOST';

export async function untilCompleted(hf: Holdfast, count: number): Promise<void> {
  await untilTrue(async () => (await workOf(hf).inspect())?.totals.completed === count);
}

/** All messages of a channel that wait. */
export async function waitingIn<Message>(channel: Pick<Channel<Message>, 'list'>): Promise<Message[]> {
  const found: Message[] = [];
  for (;;) {
    const listed = await channel.list('ready', { offset: found.length, limit: 100 });
    found.push(...listed.map(({ message }) => message));
    if (listed.length < 100) return found;
  }
}

/** The effects in the store, by the number of the message that they are of. */
export async function effectsIn(hf: Holdfast): Promise<Map<number, string[]>> {
  const found = new Map<number, string[]>();
  for (const { n, by } of await waitingIn(effectsOf(hf))) found.set(n, [...(found.get(n) ?? []), by]);
  return found;
}

/** Every message had its effect, and had it once. */
export async function expectEachOnce(hf: Holdfast, count: number): Promise<void> {
  const effects = await effectsIn(hf);
  expect([...effects].filter(([, by]) => by.length !== 1)).toEqual([]);
  expect(effects.size).toBe(count);
  expect(await workOf(hf).inspect()).toMatchObject({ ready: 0, leased: 0, delayed: 0, dead: 0, completed: count });
}
