/** The backups that clients are taking: one a connection, each asked for part by part. */
import type { Machine } from '../machine/machine.ts';
import type { Backup as BackupCommand, Reply } from '../model/command.ts';
import type { BackupView } from '../model/views.ts';
import type { ErrorCode } from '../model/errors.ts';
import { Backup } from './backup.ts';
import type { Connection } from './connection.ts';

type Refusal = Extract<Reply, { kind: 'refused' }>;

/** Each may keep some MiB of what was written meanwhile. */
const MAX_BACKUPS = 4;

export class Backups {
  readonly #machine: Machine;
  readonly #space: string;
  readonly #connections: ReadonlySet<Connection>;

  constructor(machine: Machine, space: string, connections: ReadonlySet<Connection>) {
    this.#machine = machine;
    this.#space = space;
    this.#connections = connections;
  }

  /** The backup whose part is asked for, begun with its first part; or why there is none. */
  find(from: Connection, { id, part }: BackupCommand, now: number): Backup | Refusal {
    const { backup } = from;
    if (part === 0 && backup !== undefined) {
      return refused('Cannot make a second backup: this client is taking one');
    }
    if (part === 0) return this.#begin(from, id, now);
    if (backup?.id !== id || backup.nextPart !== part) {
      return refused('Cannot go on with the backup: the broker that made it is gone; begin again', 'CLOSED');
    }
    if (!backup.isOverrun) return backup;
    from.backup = undefined;
    return refused('Cannot go on with the backup: more was written meanwhile than is kept for a slow reader');
  }

  /** The part that was read for, as of now. */
  take(from: Connection, backup: Backup, now: number): BackupView {
    const value = backup.take(now);
    if (value.isEnd) from.backup = undefined;
    return value;
  }

  /** The client does not want the rest. */
  stop(from: Connection, { id }: BackupCommand): void {
    if (from.backup?.id === id) from.backup = undefined;
  }

  #begin(from: Connection, id: number, now: number): Backup | Refusal {
    const others = [...this.#connections].filter(({ backup }) => backup !== undefined);
    if (others.length >= MAX_BACKUPS) {
      return refused(`Cannot make more than ${MAX_BACKUPS} backups at the same time`);
    }
    from.backup = new Backup(id, this.#space, this.#machine.everythingSoFar, now);
    return from.backup;
  }
}

function refused(message: string, code: ErrorCode = 'TOO_MANY'): Refusal {
  return { kind: 'refused', code, message };
}
