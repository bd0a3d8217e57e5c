/** A batch: the writes of one commit, and what may be said when they are durable. */
import type { Context, Flushed } from '../machine/machine.ts';
import type { Reply } from '../model/command.ts';
import type { Write } from '../model/records.ts';
import type { Goodbye, Welcome } from '../wire/frames.ts';
import type { Connection } from './connection.ts';

export class Batch {
  /** The time at which all of its commands happen. */
  readonly context: Context;
  readonly writes: Write[] = [];
  readonly flushed: Flushed[] = [];
  readonly replies: { readonly to: Connection; readonly request: number; readonly reply: Reply }[] = [];
  readonly welcomes: { readonly to: Connection; readonly welcome: Omit<Welcome, 'durability' | 'sessionTimeoutMs'> }[] =
    [];
  /** The last words to clients, behind everything else. */
  readonly goodbyes: { readonly to: Connection; readonly goodbye: Goodbye }[] = [];
  /** Connections whose clients have read what they were sent. */
  readonly drained: Connection[] = [];
  /** How many commands were applied. */
  commands = 0;

  constructor(context: Context) {
    this.context = context;
  }

  add(flushed: Flushed): void {
    for (const write of flushed.writes) this.writes.push(write);
    if (flushed.deliveries.length + flushed.notices.length > 0) this.flushed.push(flushed);
  }

  get bytes(): number {
    let bytes = 0;
    for (const write of this.writes) if (write.kind === 'put') bytes += write.key.length + write.value.length;
    return bytes;
  }

  /** Whether somebody waits for an answer. */
  get hasAnswers(): boolean {
    return this.replies.length + this.welcomes.length + this.goodbyes.length > 0;
  }
}
