/** Coverage marks: states that are worth reaching, so that a simulation that never gets there is found out. */
import type { Checker } from './checker.ts';
import type { CommitContent } from './commit-content.ts';
import type { Happening } from '../../model/states.ts';
import { type Claim, isAlive } from './ledger.ts';
import type { SimRecord } from './records.ts';

/** What all seeds together must have reached. */
export const MARKS = [
  'a batch has lost a message',
  'a batch is settled in one',
  'a broker is fenced',
  'a broker rebuilds',
  'a bulk changes messages',
  'a bulk goes on behind a takeover',
  'a bulk is stopped',
  'a call is refused for a full backlog',
  'a call is refused for a full disk',
  'a cancelled handler ends in time',
  'a cancelled handler is late',
  'a channel is paused while messages wait',
  'a channel is unsubscribed',
  'a cold read is overtaken by a write',
  'a child is dead to its parent',
  'a child is waited for by two',
  'a commit fails and was applied',
  'a commit fails and was not applied',
  'a consumer is drained or closed',
  'a flow is refused for a duplicate',
  'a frame comes twice',
  'a group goes on after a takeover',
  'a group is full',
  'a group is paused with messages',
  'a group waits for one that comes back',
  'a handler ends after its lease was lost',
  'a deposed leader follows',
  'a handler is timed out by the broker',
  'a handler runs again after a conflict',
  'a handler is told to wait',
  'a handler kills its process',
  'a handler sees a child that has not ended',
  'a handler waits for its children',
  'a keepLast message takes over its key',
  'a leader crashes',
  'a leader is cut off',
  'a leader is paused',
  'a lease is settled across a takeover',
  'a lease is settled over another link',
  'a link goes silent',
  'a link is cut',
  'a message dies of dead processes',
  'a message expires',
  'a message is given up between two brokers',
  'a message is cancelled',
  'a message is cancelled under its handler',
  'a message is deduplicated',
  'a message is delivered again',
  'a message is promoted',
  'a message is published to several channels',
  'a message is purged',
  'a message is redriven',
  'a message is released',
  'a message is removed',
  'a message is replaced',
  'a message is retried',
  'a message is snoozed',
  'a message is updated',
  'a message moves to the dead letters',
  'a message waits for its children',
  'a message waits for its children over a takeover',
  'a parent fails with its child',
  'a parent goes on',
  'a minute is counted by two brokers',
  'a minute is over',
  'a payload is replaced',
  'a process is paused',
  'a process leaves',
  'a produce waits for room',
  'a request gets its result',
  'a request is answered from memory',
  'a redriven message waits again',
  'a restored session leaves suspects',
  'a session expires after a takeover',
  'a sum is committed behind a failed commit',
  'a surviving process takes over',
  'a suspect of a group is delivered alone',
  'a suspect is delivered alone',
  'a transaction gives up',
  'a schedule ticks',
  'a tick is made up for by another leader',
  'a tick waits for the message before it',
  'an ack brings messages along',
  'an entry expires during a takeover',
  'an entry has left the cache',
  'an event loop is blocked',
  'an outcome is unknown',
  'entries are read ahead',
  'expired entries are looked at in two stages',
  'leases are lost with their link',
  'lifo goes first',
  'old minutes are removed',
  'several members race for the lead',
  'the disk is full',
  'ticks are left out',
  'the power is cut',
  'the wall clock jumps ahead',
  'the wall clock jumps back',
] as const;

export type Mark = (typeof MARKS)[number];

const BY_TRANSITION: Readonly<Record<string, Mark>> = {
  expired: 'a message expires',
  moved: 'a message moves to the dead letters',
  promoted: 'a message is promoted',
  purged: 'a message is purged',
  redriven: 'a message is redriven',
  removed: 'a message is removed',
  retried: 'a message is retried',
  updated: 'a message is updated',
  released: 'a message is released',
  replaced: 'a message is replaced',
  snoozed: 'a message is snoozed',
  unblocked: 'a keepLast message takes over its key',
};

const CHILD_MARKS: Readonly<Record<string, Mark>> = {
  dead: 'a child is dead to its parent',
  ready: 'a handler sees a child that has not ended',
  delayed: 'a handler sees a child that has not ended',
  leased: 'a handler sees a child that has not ended',
  waiting: 'a handler sees a child that has not ended',
};

/** Says what a record shows; the checker has seen it already. */
export function marksOf(record: SimRecord, checker: Checker): Mark[] {
  switch (record.kind) {
    case 'commit':
      return commitMarks(record, checker);
    case 'produce.answered':
      if (record.code === 'BACKLOG_FULL') return fullMarks(record.op, checker);
      if (record.code === 'STORE_FULL') return ['a call is refused for a full disk'];
      if (record.code === 'DUPLICATE') return ['a flow is refused for a duplicate'];
      if (record.code === 'UNKNOWN_OUTCOME') return ['an outcome is unknown'];
      return record.receipts.some(({ deduplicated }) => deduplicated) ? ['a message is deduplicated'] : [];
    case 'settle.answered':
      if (record.held === undefined) return [];
      if (record.held === 'conflict') return ['a handler runs again after a conflict'];
      if (!record.held) return ['a handler ends after its lease was lost'];
      if (checker.settles.get(record.token)?.called.outcome === 'hold') return ['a handler is told to wait'];
      return checker.leads.grantedBy(record) === checker.leads.current?.host
        ? []
        : ['a lease is settled across a takeover'];
    case 'acquired':
      return [undefined, record.host].includes(checker.leads.welcomedBy(record.host))
        ? []
        : ['a surviving process takes over'];
    case 'welcomed':
      return record.by !== record.host && checker.leads.hasLed(record.host) ? ['a deposed leader follows'] : [];
    case 'flow.called':
      return new Set(record.edges.map(({ child }) => child)).size < record.edges.length
        ? ['a child is waited for by two']
        : [];
    case 'flow.seen':
      return [...new Set(record.children.flatMap(({ state }) => CHILD_MARKS[state] ?? []))];
    case 'result':
      return ['a request gets its result'];
    default:
      return [];
  }
}

function commitMarks({ content, nonce }: Extract<SimRecord, { kind: 'commit' }>, checker: Checker): Mark[] {
  const { ledger, leads, kv, schedules } = checker;
  const marks: Mark[] = [];
  if (schedules.hasTicked) marks.push('a schedule ticks');
  if (schedules.hasMadeUp) marks.push('a tick is made up for by another leader');
  if (schedules.hasQueued) marks.push('a tick waits for the message before it');
  if (schedules.hasSkipped) marks.push('ticks are left out');
  if (kv.expiredMeanwhile) marks.push('an entry expires during a takeover');
  if (content.minutes.length > 0) marks.push('a minute is over');
  if (content.clearedMinutes.length > 0) marks.push('old minutes are removed');
  if (checker.hasSharedMinute) marks.push('a minute is counted by two brokers');
  if (kv.hasLateSum) marks.push('a sum is committed behind a failed commit');
  for (const { id, host } of ledger.endedSessions) {
    if (host !== leads.predecessor && !leads.isWelcomed(id)) marks.push('a session expires after a takeover');
  }
  const alive = (channel: number, key: string): boolean =>
    [...ledger.messages.values()].some((one) => one.channel === channel && one.group === key && isAlive(one));
  if (content.groups.some(({ channel, key, paused }) => paused && alive(channel, key)))
    marks.push('a group is paused with messages');
  for (const { what, since } of ledger.wentOn) {
    if (what === 'failed') marks.push('a parent fails with its child');
    if (what !== 'unblocked' && what !== 'postponed') continue;
    marks.push('a parent goes on');
    if (since < (leads.current?.at ?? 0)) marks.push('a message waits for its children over a takeover');
  }
  for (const [i, { what, seq, session }] of content.transitions.entries()) {
    marks.push(...groupMarks(what, seq, checker));
    const mark = BY_TRANSITION[what];
    if (mark !== undefined) marks.push(mark);
    const message = ledger.messages.get(seq);
    const claim = message?.claims.at(-1);
    if (what === 'leaseLost' && claim !== undefined) marks.push(...lossMarks(claim, seq, content, checker));
    if (what === 'cancelled')
      marks.push(claim?.ended === 'cancelled' ? 'a message is cancelled under its handler' : 'a message is cancelled');
    if (what === 'claimed' && (message?.claims.length ?? 0) > 1) marks.push('a message is delivered again');
    if (what === 'blocked') {
      marks.push(session === 0 ? 'a message waits for its children' : 'a handler waits for its children');
      const isRedriven = content.transitions.slice(0, i).some((one) => one.seq === seq && one.what === 'redriven');
      if (isRedriven) marks.push('a redriven message waits again');
    }
    if (what === 'claimed' && claim?.alone === true) marks.push('a suspect is delivered alone');
    if ((what === 'nacked' || what === 'failed') && message?.failure?.startsWith('The handler ran longer') === true) {
      if (claim !== undefined && !checker.settles.has(claim.token)) marks.push('a handler is timed out by the broker');
    }
    if (what === 'failed' && message?.failure?.startsWith('The process died') === true)
      marks.push('a message dies of dead processes');
    if (what === 'acked' && claim !== undefined && checker.effects.has(claim.token))
      marks.push('an ack brings messages along');
    const isDead = what === 'failed' || what === 'expired';
    if (isDead && (kv.givenUpBy.get(seq) ?? nonce) !== nonce) marks.push('a message is given up between two brokers');
    if (what === 'claimed' && message?.lifo === true) marks.push('lifo goes first');
    if (claim?.isCancelled === true && (what === 'acked' || what === 'cancelled')) {
      const isSettled = checker.settles.has(claim.token);
      marks.push(isSettled ? 'a cancelled handler ends in time' : 'a cancelled handler is late');
    }
  }
  if (content.payloads.length > 0) marks.push('a payload is replaced');
  for (const { number, paused } of content.channels) {
    if (paused && !ledger.ready(number).next().done) marks.push('a channel is paused while messages wait');
  }
  for (const { number, changed, state } of content.bulks) {
    if (changed > 0) marks.push('a bulk changes messages');
    if (state === 'stopped') marks.push('a bulk is stopped');
    if (checker.bulkNonces.get(number) !== nonce) marks.push('a bulk goes on behind a takeover');
  }
  return marks;
}

function fullMarks(op: number, { ops, ledger }: Checker): Mark[] {
  const channel = ledger.channelNamed(ops.get(op)?.called.channel ?? '');
  const isOfGroups = channel !== undefined && channel.settings.groups.maxBacklog !== 0;
  return ['a call is refused for a full backlog', ...(isOfGroups ? (['a group is full'] as const) : [])];
}

function groupMarks(what: Happening, seq: number, { ledger, leads }: Checker): Mark[] {
  const message = ledger.messages.get(seq);
  if (message === undefined || message.group === '') return [];
  if (ledger.channels.get(message.channel)?.settings.groups.ordered !== true) return [];
  if (what === 'nacked' || what === 'snoozed') return ['a group waits for one that comes back'];
  const [before, last] = message.claims.slice(-2);
  if (what !== 'claimed' || last === undefined || before === undefined) return [];
  return [
    ...(last.alone ? (['a suspect of a group is delivered alone'] as const) : []),
    ...(leads.isInherited(before) ? (['a group goes on after a takeover'] as const) : []),
  ];
}

function lossMarks(
  { token, sessionId, host }: Claim,
  seq: number,
  { pages }: CommitContent,
  { leads }: Checker,
): Mark[] {
  const marks: Mark[] = [];
  const isSuspect = pages.some(({ messages }) => messages.some((one) => one.seq === seq && one.suspect));
  if (isSuspect && leads.isInherited({ token }) && host !== leads.predecessor)
    marks.push('a restored session leaves suspects');
  if (leads.partedSince(sessionId) !== undefined && !leads.died.has(host) && leads.lingerMs < leads.sessionTimeoutMs)
    marks.push('leases are lost with their link');
  return marks;
}
