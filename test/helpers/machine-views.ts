/** What `inspect` says, for tests of the machine. */
import type { ChannelView, MessageView } from '#holdfast/model/command.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import type { State } from '#holdfast/model/states.js';
import type { MachineClient } from './machine-run.ts';

export function viewOf(client: MachineClient, channel: string): ChannelView {
  return valueOf(client, { kind: 'inspect', what: 'channel', channel }) as ChannelView;
}

/** The message, or `null` when it is not kept any more. */
export function messageOf(client: MachineClient, id: string): MessageView | null {
  return valueOf(client, { kind: 'inspect', what: 'message', id: parseMessageId(id) }) as MessageView | null;
}

export function listOf(client: MachineClient, channel: string, state: State, offset = 0, limit = 100): MessageView[] {
  return valueOf(client, { kind: 'inspect', what: 'list', channel, state, offset, limit }) as MessageView[];
}

function valueOf(client: MachineClient, command: Parameters<MachineClient['ask']>[0]): unknown {
  const reply = client.ask(command);
  if (reply.kind !== 'value') throw new Error(`The answer is ${JSON.stringify(reply)}`);
  return reply.value;
}
