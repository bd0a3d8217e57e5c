/** A receipt: that a message is stored. */
import type { MessageId } from '../model/message-id.ts';

/** What a produce gives: the message is stored as safely as `durability` says. */
export interface Receipt {
  readonly id: MessageId;
  readonly channel: string;
  /** The message was not stored, because the one with this id stands for it. */
  readonly deduplicated: boolean;
  /** `memory` survives nothing, `disk` a power cut, `replicated` the loss of a machine. */
  readonly durability: 'memory' | 'disk' | 'replicated';
}
