/**
 * The errors that an operation can meet. A bad argument is a `TypeError` or a `RangeError` at the call
 * and is not in this file. Messages start with a capital, quote their subject, and have no full stop.
 */

/**
 * What went wrong, for code to react to. A code is never renamed within a major version.
 *
 * | code | meaning | what to do |
 * |---|---|---|
 * | `CLOSED` | the instance, consumer or broker was closed while the call waited | open again |
 * | `LEASE_LOST` | the message is no longer this handler's | stop; somebody else has it, or it ended |
 * | `BACKLOG_FULL` | the channel holds `maxBacklog` messages | produce later, or open with `onFull: 'wait'` |
 * | `STORE_FULL` | the disk has less free space than the reserve | free space; consumers go on meanwhile |
 * | `STORE_IN_USE` | a live broker of another process leads the store | nothing: who opens the folder becomes its client |
 * | `STORE_CORRUPT` | a record does not match its checksum or its format | restore a backup |
 * | `STORE_EXISTS` | the folder to restore into holds a store already | restore into a new folder |
 * | `STORE_TOO_NEW` | the store was written by a later version of this package | upgrade this process |
 * | `BACKUP_DAMAGED` | the file is not a whole backup | use another one |
 * | `STORE_FAILED` | the store failed and could not be opened again | see `cause` |
 * | `FENCED` | another broker leads the store by now | nothing: clients connect to that one |
 * | `UNKNOWN_OUTCOME` | the session expired before the answer came: it may or may not have happened | look, then decide |
 * | `NOT_FOUND` | no message has this id any more | nothing |
 * | `WRONG_STATE` | the message is not in a state that allows this | look at `state` |
 * | `WRONG_TYPE` | the entry or the operand is no number that this KV operation takes | see the message |
 * | `CONFLICT` | what was read kept changing until the last try | try again later, or read less |
 * | `DUPLICATE` | a message of a flow that has children stands already, so that nothing was added | look at the one that stands |
 * | `CANCELLED` | the message is cancelled, and its handler has some time to end | end before `deadlineMs` have passed |
 * | `DEAD` | the message that a `request` waited for is dead or was cancelled | look at `cause` |
 * | `INVALID_MESSAGE` | the message does not match the channel's schema | mend the message |
 * | `UNDECODABLE` | stored bytes are not a message in a known codec | see `cause` |
 * | `TOO_MANY` | a documented limit is reached | see the message |
 * | `UNREACHABLE` | no broker could be reached in time | look at the address, start the server |
 * | `UNAUTHORIZED` | the token is missing, unknown, expired or revoked | use another token |
 * | `FORBIDDEN` | the token's scopes do not allow this | use another token |
 * | `PROTOCOL` | the other side sent a frame that is not of this protocol | upgrade one side |
 * | `BROKER_FAILED` | a broken invariant stopped the broker | report it |
 */
export type ErrorCode =
  | 'CLOSED'
  | 'LEASE_LOST'
  | 'BACKLOG_FULL'
  | 'STORE_FULL'
  | 'STORE_IN_USE'
  | 'STORE_CORRUPT'
  | 'STORE_EXISTS'
  | 'STORE_TOO_NEW'
  | 'BACKUP_DAMAGED'
  | 'STORE_FAILED'
  | 'FENCED'
  | 'UNKNOWN_OUTCOME'
  | 'NOT_FOUND'
  | 'WRONG_STATE'
  | 'WRONG_TYPE'
  | 'CONFLICT'
  | 'DUPLICATE'
  | 'CANCELLED'
  | 'DEAD'
  | 'INVALID_MESSAGE'
  | 'UNDECODABLE'
  | 'TOO_MANY'
  | 'UNREACHABLE'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'PROTOCOL'
  | 'BROKER_FAILED';

/** An operating error, told apart by its {@link ErrorCode}. */
export class HoldfastError extends Error {
  override readonly name: string = 'HoldfastError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A live broker leads the store already. */
export class StoreInUseError extends HoldfastError {
  override readonly name = 'StoreInUseError';
  /** Where that broker can be reached. */
  readonly address: string;

  constructor(address: string) {
    super('STORE_IN_USE', `Cannot lead the store: a live broker leads it at "${address}"`);
    this.address = address;
  }
}

/**
 * A failure of the store. `outcome` says what is known of a commit that was under way: `aborted` means
 * that certainly nothing was written, `unknown` that all of it or nothing was. Either way the broker's
 * memory is ahead of the store, so it stops, reopens and rebuilds; it never tries the same commit again.
 */
export class StoreError extends HoldfastError {
  override readonly name = 'StoreError';
  readonly outcome: 'aborted' | 'unknown';

  constructor(code: ErrorCode, outcome: 'aborted' | 'unknown', message: string, options?: ErrorOptions) {
    super(code, message, options);
    this.outcome = outcome;
  }
}
