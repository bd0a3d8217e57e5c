/** Commands to KV and their answers, as they are recorded. */
import type { Command, Reply } from '../../model/command.ts';
import type { KvEffects, KvEntry, KvRecord } from '../../model/kv.ts';
import { keyText, valueText } from './commit-content.ts';
import type { KvAsked, KvEffectsAsked, KvEntryHeard, KvHeard } from './records.ts';

/** What a command asks of KV; `undefined` when that is nothing. */
export function askedBy(command: Command): KvAsked | undefined {
  switch (command.kind) {
    case 'kvRead': {
      const ranges = command.ranges.map((range) => ({ ...range, from: keyText(range.from), to: keyText(range.to) }));
      return { what: 'read', keys: command.keys.map(keyText), ranges };
    }
    case 'kvCommit':
      return { what: 'commit', ...effectsAsked(command) };
    case 'kvWatch':
      return { what: 'watch', watch: command.watch, keys: command.keys.map(keyText) };
    default:
      return undefined;
  }
}

export function effectsAsked({ checks, mutations }: KvEffects): KvEffectsAsked {
  return {
    checks: checks.map(({ key, version }) => ({ key: keyText(key), version })),
    mutations: mutations.map((mutation) => {
      const key = keyText(mutation.key);
      if (mutation.kind === 'delete') return { kind: 'delete', key };
      const value = valueText(mutation.value);
      if (mutation.kind !== 'set') return { kind: mutation.kind, key, value };
      return { kind: 'set', key, value, expireInMs: mutation.expireInMs };
    }),
  };
}

/** What the client hears with this answer to what it asked. */
export function heardFrom(asked: KvAsked, reply: Reply): KvHeard {
  switch (reply.kind) {
    case 'kvCommitted':
      return { what: 'committed', version: reply.version };
    case 'kvConflict':
      return { what: 'conflict' };
    case 'kvRead': {
      const keys = asked.what === 'commit' ? [] : asked.keys;
      return {
        what: 'read',
        entries: keys.map((key, i) => entryHeard(key, reply.entries[i])),
        pages: reply.pages.map(({ entries, isEnd }) => ({ entries: entries.map(pageEntry), isEnd })),
      };
    }
    case 'refused':
      return { what: reply.code === 'UNKNOWN_OUTCOME' ? 'unknown' : 'refused', code: reply.code };
    default:
      return { what: 'refused', code: reply.kind };
  }
}

function entryHeard(key: string, record: KvRecord | undefined): KvEntryHeard | undefined {
  return record && { key, value: valueText(record), version: record.version };
}

function pageEntry(entry: KvEntry): KvEntryHeard {
  return { key: keyText(entry.key), value: valueText(entry), version: entry.version };
}
