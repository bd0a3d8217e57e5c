/** `transact`: a transaction outside a handler, tried until what it read has held. */
import type { Client } from '../client/client.ts';
import { conflictPauseMs } from '../client/conflicts.ts';
import { refusal } from '../client/outbox.ts';
import { HoldfastError } from '../model/errors.ts';
import type { KvCommit } from '../model/command.ts';
import { GatheredTransaction, type Transaction } from './transaction.ts';

/** How often a function runs whose reads do not hold, before that counts as a failure. */
export const MAX_TRIES = 100;

export function conflictError(tries: number): HoldfastError {
  return new HoldfastError('CONFLICT', `Cannot commit: what was read had changed each of ${tries} times`);
}

/**
 * Runs `work` and commits what it gathered. Where something that it read has changed by then, nothing is committed, and it
 * runs again; so does one that threw, for it may have thrown because of that.
 */
export async function transact<Result>(
  client: Client,
  work: (tx: Transaction) => Result | Promise<Result>,
): Promise<Result> {
  if (typeof work !== 'function') throw new TypeError('Cannot transact: give a function');
  for (let tries = 1; ; tries++) {
    const tx = new GatheredTransaction(client);
    const done = await settle(tx, work);
    const command = 'error' in done ? await checksOf(tx) : await commitOf(tx);
    if (command === undefined || (await commit(client, command))) {
      if ('error' in done) throw done.error;
      return done.result;
    }
    if (tries >= MAX_TRIES) throw conflictError(tries);
    const pauseMs = conflictPauseMs(tries, client.random.fraction());
    if (pauseMs > 0) await new Promise<void>((resolve) => client.clock.timer(pauseMs, resolve));
  }
}

async function settle<Result>(
  tx: GatheredTransaction,
  work: (tx: Transaction) => Result | Promise<Result>,
): Promise<{ readonly result: Result } | { readonly error: unknown }> {
  try {
    return { result: await work(tx) };
  } catch (error) {
    return { error };
  }
}

async function commitOf(tx: GatheredTransaction): Promise<KvCommit | undefined> {
  if (tx.isEmpty) return undefined;
  const effects = (await tx.entries.effects()) ?? { checks: [], mutations: [] };
  return { kind: 'kvCommit', ...effects, produced: (await tx.produced()) ?? [] };
}

async function checksOf(tx: GatheredTransaction): Promise<KvCommit | undefined> {
  const checks = await tx.entries.checks();
  return checks.length === 0 ? undefined : { kind: 'kvCommit', checks, mutations: [], produced: [] };
}

/** @returns whether what was read has held */
async function commit(client: Client, command: KvCommit): Promise<boolean> {
  const reply = await client.request(command);
  if (reply.kind === 'kvCommitted') return true;
  if (reply.kind === 'kvConflict') return false;
  // A number that is none is the fault of whoever called.
  throw reply.kind === 'refused' && reply.code === 'WRONG_TYPE' ? new TypeError(reply.message) : refusal(reply);
}
