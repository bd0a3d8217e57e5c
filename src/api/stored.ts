/** Messages as they are stored: asked for, and decoded. */
import type { Client } from '../client/client.ts';
import { refusal } from '../client/outbox.ts';
import { CODEC_BSON } from '../codec/bson.ts';
import { type Command, LIST_BYTES } from '../model/command.ts';
import type { MessageView } from '../model/views.ts';
import { type MessageId, parseMessageId } from '../model/message-id.ts';
import { type State, STATES } from '../model/states.ts';
import { decodePayload } from './messages.ts';
import { refuseUnknown, wholeNumber } from './checks.ts';

/** A message as it stands in its channel. */
export interface StoredMessage<Message> extends Omit<MessageView, 'payload' | 'codec' | 'result' | 'progress'> {
  /** Of a message that cannot be decoded, reading this throws `UNDECODABLE`; so it is for `result` and `progress`. */
  readonly message: Message;
  readonly result: unknown;
  readonly progress: unknown;
}

export interface ListOptions {
  /** How many messages to pass over. @default 0 */
  readonly offset?: number;
  /** At most 100. @default 20 */
  readonly limit?: number;
}

/** Sends a command and gives the value of its answer. @throws HoldfastError for a refusal */
export async function ask(client: Client, command: Command): Promise<unknown> {
  const reply = await client.request(command);
  if (reply.kind === 'value') return reply.value;
  if (reply.kind === 'done') return undefined;
  throw refusal(reply);
}

/** A message by its id; `undefined` when it is not kept any more. @throws TypeError for a text that is no id */
export async function readMessage<Message>(client: Client, id: MessageId): Promise<StoredMessage<Message> | undefined> {
  const view = await ask(client, { kind: 'inspect', what: 'message', id: parseMessageId(id) });
  return view === null ? undefined : decodeStored(view as MessageView);
}

/** Messages of one state: live ones in the order in which they come, ended ones the newest first. */
export async function listMessages<Message>(
  client: Client,
  channel: string,
  state: State,
  options: ListOptions,
): Promise<StoredMessage<Message>[]> {
  if (!STATES.includes(state)) throw new TypeError(`Cannot list "${String(state)}": states are ${STATES.join(', ')}`);
  refuseUnknown(options, ['offset', 'limit'], 'list');
  const offset = wholeNumber(options.offset ?? 0, 'offset', 0, 2 ** 40);
  const limit = wholeNumber(options.limit ?? 20, 'limit', 1, 100);
  const listed: StoredMessage<Message>[] = [];
  for (;;) {
    const part = { offset: offset + listed.length, limit: limit - listed.length };
    const views = (await ask(client, { kind: 'inspect', what: 'list', channel, state, ...part })) as MessageView[];
    listed.push(...views.map((view) => decodeStored<Message>(view)));
    // Large messages come a few at a time.
    const bytes = views.reduce((sum, { payload, result }) => sum + payload.length + (result?.length ?? 0), 0);
    if (listed.length >= limit || bytes < LIST_BYTES) return listed;
  }
}

export function decodeStored<Message>({
  payload,
  codec,
  result,
  progress,
  ...view
}: MessageView): StoredMessage<Message> {
  const stored = { ...view };
  Object.defineProperty(stored, 'message', decoded(codec, payload));
  Object.defineProperty(stored, 'result', decoded(CODEC_BSON, result));
  Object.defineProperty(stored, 'progress', decoded(CODEC_BSON, progress));
  return stored as StoredMessage<Message>;
}

/** A property with the decoded value; one that cannot be decoded throws when it is read, and hides nothing else. */
function decoded(codec: number, bytes: Uint8Array | undefined): PropertyDescriptor {
  try {
    return { enumerable: true, value: bytes === undefined ? undefined : decodePayload(codec, bytes) };
  } catch (error) {
    const get = (): never => {
      throw error;
    };
    return { enumerable: false, get };
  }
}
