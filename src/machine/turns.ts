/** Requests of a session in their turn: each is applied once, and its answer is kept until the client has it. */
import { isPassing } from '../model/bull.ts';
import type { Command, Reply } from '../model/command.ts';
import { HoldfastError } from '../model/errors.ts';
import type { Session } from './memory.ts';
import { answerTo, MAX_UNCONFIRMED_ANSWERS } from './session.ts';

/** Commands with an effect that must not happen twice; the others may be repeated at will. */
export function isRemembered(command: Command): boolean {
  const { kind } = command;
  if (kind === 'bull') return !isPassing(command.method);
  if (kind === 'upsertSchedule' || kind === 'manageSchedule') return true;
  const changesMessages =
    kind === 'produce' || kind === 'flow' || kind === 'settle' || kind === 'annotate' || kind === 'kvCommit';
  if (kind === 'update' || kind === 'bulk' || kind === 'stopBulk') return true;
  return (
    changesMessages ||
    kind === 'control' ||
    kind === 'controlGroup' ||
    kind === 'manage' ||
    kind === 'createToken' ||
    kind === 'subscribe' ||
    kind === 'unsubscribe'
  );
}

/** @throws HoldfastError `PROTOCOL` when it is not the turn of this request */
export function checkTurn({ applied, answers }: Session, request: number): void {
  if (request > applied + 1) {
    throw new HoldfastError('PROTOCOL', `Cannot apply request ${request}: request ${applied + 1} comes first`);
  }
  if (answers.length >= MAX_UNCONFIRMED_ANSWERS) {
    throw new HoldfastError('PROTOCOL', `Cannot hold more than ${MAX_UNCONFIRMED_ANSWERS} unconfirmed answers`);
  }
}

/** What a request was answered that has come before. */
export function firstAnswer(session: Session, request: number): Reply {
  const answer = answerTo(session, request);
  if (answer !== undefined) return answer;
  return { kind: 'refused', code: 'UNKNOWN_OUTCOME', message: `The answer to request ${request} is no longer kept` };
}
