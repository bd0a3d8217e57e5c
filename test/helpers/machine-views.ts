/** What `inspect` says, for tests of the machine. */
import type { InspectMetrics } from '#holdfast/model/command.js';
import type { ChannelView, GroupPage, GroupView, MessageView } from '#holdfast/model/views.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import type { ChannelMetrics, MetricsPage } from '#holdfast/model/metrics.js';
import type { State } from '#holdfast/model/states.js';
import type { InspectUsage, UsagePage, UsageRow } from '#holdfast/model/usage.js';
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

export function metricsOf(client: MachineClient, asked: Partial<InspectMetrics> = {}): readonly ChannelMetrics[] {
  const { channel, after = 0, limit = 100, from, to, stepMs } = asked;
  const command = { kind: 'inspect', what: 'metrics', channel, after, limit, from, to, stepMs } as const;
  return (valueOf(client, command) as MetricsPage).channels;
}

/** All rows of usage, in as many pages as they take. */
export function usageOf(client: MachineClient, asked: Partial<InspectUsage> = {}): UsageRow[] {
  const { from, to, token, channel } = asked;
  const rows: UsageRow[] = [];
  for (let after: Uint8Array | undefined, isEnd = false; !isEnd; isEnd = after === undefined) {
    const page = valueOf(client, { kind: 'inspect', what: 'usage', from, to, token, channel, after }) as UsagePage;
    rows.push(...page.rows);
    after = page.next;
  }
  return rows;
}

/** The group, or `null` when it has no messages and nothing is kept for it. */
export function groupOf(client: MachineClient, channel: string, group: string): GroupView | null {
  return valueOf(client, { kind: 'inspect', what: 'group', channel, group }) as GroupView | null;
}

export function groupsOf(client: MachineClient, channel: string): readonly GroupView[] {
  return (valueOf(client, { kind: 'inspect', what: 'groups', channel, after: 0, limit: 1_000 }) as GroupPage).groups;
}

function valueOf(client: MachineClient, command: Parameters<MachineClient['ask']>[0]): unknown {
  const reply = client.ask(command);
  if (reply.kind !== 'value') throw new Error(`The answer is ${JSON.stringify(reply)}`);
  return reply.value;
}
