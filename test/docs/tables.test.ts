import { describe, expect, test } from 'vitest';
import { type KvOptions, resolveKvOptions } from '#holdfast/api/kv/limits.js';
import { resolveChannelOptions } from '#holdfast/api/options.js';
import { MAX_ACCESS_TOKENS } from '#holdfast/machine/access-tokens.js';
import { HISTORY_LENGTH } from '#holdfast/machine/message.js';
import { DEFAULT_JOURNAL_BOUNDS } from '#holdfast/model/policy.js';
import { MAX_CHANNEL_NAME_CHARACTERS } from '#holdfast/machine/channel.js';
import { MAX_CHANNELS } from '#holdfast/machine/channels.js';
import { MAX_FILTER_CHARACTERS } from '#holdfast/model/filter.js';
import { MAX_REASON_CHARACTERS } from '#holdfast/model/life.js';
import { MAX_BULKS } from '#holdfast/machine/bulks.js';
import { MAX_LIST } from '#holdfast/machine/inspect.js';
import { MAX_LOG_LINE_CHARACTERS, MAX_LOG_LINES, MAX_PROGRESS_BYTES } from '#holdfast/machine/notes.js';
import { MAX_LABEL_CHARACTERS, MAX_SCOPES } from '#holdfast/model/access-token.js';
import { MAX_COPIES, MAX_SUBSCRIPTIONS, MAX_TOPICS } from '#holdfast/model/topic.js';
import { MAX_PRIORITY } from '#holdfast/model/block.js';
import { MAX_EVENTS_KEPT } from '#holdfast/model/command.js';
import { MAX_FAILURE_MESSAGE_CHARACTERS, MAX_FAILURE_STACK_CHARACTERS } from '#holdfast/model/failure.js';
import { MAX_DURATION_MS } from '#holdfast/model/duration.js';
import { DEFAULT_DEDUPLICATION_MS, DEFAULT_POLICY, DEFAULT_SETTINGS, type Retention } from '#holdfast/model/policy.js';
import { HAPPENINGS, nextState, STATES } from '#holdfast/model/states.js';
import { readDocuments, rowsUnder } from './markdown.ts';
import { constant, documentedDefault, fieldsOf, leastMemory } from './source.ts';
import { MAX_USAGE_ROWS } from '#holdfast/machine/usage.js';
import { METRICS_MINUTES } from '#holdfast/model/metrics.js';
import { USAGE_DAYS } from '#holdfast/model/usage.js';

const documents = new Map(readDocuments().map((document) => [document.path, document]));

function rows(path: string, heading: string): string[][] {
  const document = documents.get(path);
  if (document === undefined) throw new Error(`Cannot find the document "${path}"`);
  return rowsUnder(document, heading);
}

describe('docs/guarantees.md', () => {
  const defaults = rows('docs/guarantees.md', 'Defaults');
  const limits = rows('docs/guarantees.md', 'Limits');

  test('names every default as the code has it', () => {
    const resolved = resolveChannelOptions({});
    const {
      policy,
      onFull,
      limits: { maxBytes: maxPayloadBytes },
    } = resolved;
    expect(policy).toEqual(DEFAULT_POLICY);
    const expected: Readonly<Record<string, string>> = {
      attempts: String(policy.maxAttempts),
      backoff: backoffText(policy.backoff),
      timeout: orFalse(policy.timeoutMs),
      timeToLive: orFalse(policy.timeToLiveMs),
      process: policy.dedupe === undefined ? "'atLeastOnce'" : "'exactlyOnce'",
      deduplicationInterval: duration(DEFAULT_DEDUPLICATION_MS),
      'dedupe.mode': `'${resolveChannelOptions({ process: 'exactlyOnce' }).policy.dedupe?.mode}'`,
      maxDeaths: String(policy.maxDeaths),
      maxUndecodable: String(policy.maxUndecodable),
      deadLetter: policy.deadLetter ?? 'none',
      maxBacklog: policy.maxBacklog === 0 ? 'Infinity' : String(policy.maxBacklog),
      onFull: `'${onFull}'`,
      'retain.completed': retention(DEFAULT_SETTINGS.completed),
      'retain.dead': retention(DEFAULT_SETTINGS.dead),
      maxPayloadBytes: String(maxPayloadBytes),
      priority: documentedDefault('api/options.ts', 'priority'),
      concurrency: documentedDefault('api/consumer.ts', 'concurrency'),
      prefetch: documentedDefault('api/consumer.ts', 'prefetch'),
      space: documentedDefault('open.ts', 'space'),
      thread: documentedDefault('open.ts', 'thread'),
      sessionTimeout: documentedDefault('open.ts', 'sessionTimeout').replaceAll("'", ''),
      reserveBytes: String(constant('open.ts', 'RESERVE_BYTES')),
      token: documentedDefault('open.ts', 'token').replace('the environment variable `', '').replace('`', ''),
      connectTimeout: documentedDefault('open.ts', 'connectTimeout').replaceAll("'", ''),
      log: documentedDefault('open.ts', 'log').split(' ')[1] as string,
      memoryBytes: documentedDefault('api/isolated.ts', 'memoryBytes'),
      grace: documentedDefault('api/holdfast.ts', 'grace'),
    };
    const found = Object.fromEntries(defaults.map(([option = '', value = '']) => [option, value]));
    expect(found).toMatchObject(expected);
  });

  test('leaves out no option of a channel', () => {
    const message = errorOf(() => resolveChannelOptions({ unknown: 1 } as object));
    const known = message.slice(message.indexOf('known are ') + 'known are '.length).split(', ');
    const named = defaults.map(([option = '']) => option.split('.')[0]);
    expect(known.filter((option) => option !== 'schema' && !named.includes(option))).toEqual([]);
  });

  test('leaves out no option of open, nor of a consumer', () => {
    const named = defaults.map(([option]) => option);
    // For tests alone, and what has no default: the signal, and who hears of errors.
    const others = ['clock', 'random', 'signal', 'onError'];
    const options = [
      ...fieldsOf('open.ts', 'OpenOptions'),
      ...fieldsOf('api/consumer.ts', 'ConsumeOptions'),
      ...fieldsOf('api/isolated.ts', 'IsolatedConsumeOptions'),
      ...fieldsOf('api/holdfast.ts', 'CloseOptions'),
    ];
    expect(options.filter((option) => !named.includes(option))).toEqual(others);
  });

  test('names every limit as the code has it', () => {
    const found = Object.fromEntries(limits.map(([what = '', limit = '']) => [what, limit]));
    expect(found).toMatchObject({
      'an encoded message, at most': `${resolveChannelOptions({}).limits.maxBytes} bytes`,
      'messages of one produceAll': String(constant('api/channel.ts', 'MAX_MESSAGES')),
      'bytes of one produceAll': String(constant('api/channel.ts', 'MAX_BYTES')),
      'messages of one tx': String(constant('api/transaction.ts', 'MAX_PRODUCED')),
      'bytes of the messages of one tx': String(constant('api/transaction.ts', 'MAX_PRODUCED_BYTES')),
      "characters of a channel's name": String(MAX_CHANNEL_NAME_CHARACTERS),
      'channels of a space': String(MAX_CHANNELS),
      priority: `-${MAX_PRIORITY} to ${MAX_PRIORITY}`,
      'handlers of a consumer at a time': String(constant('api/consumer.ts', 'MAX_CONCURRENCY')),
      'messages of one list': `${MAX_LIST}, ${documentedDefault('api/stored.ts', 'limit')} by default`,
      'messages of one search': `${MAX_LIST}, ${documentedDefault('api/search.ts', 'limit')} by default`,
      'characters of a text that is looked for, and of a reason': `${MAX_FILTER_CHARACTERS}, ${MAX_REASON_CHARACTERS}`,
      'bulks that run at a time': String(MAX_BULKS),
      'encoded progress of a message': `${MAX_PROGRESS_BYTES} bytes`,
      "lines of a message's log, and characters of a line": `${MAX_LOG_LINES}, ${MAX_LOG_LINE_CHARACTERS}`,
      "entries of a message's history": String(HISTORY_LENGTH),
      'characters of an error that is kept, and of its stack': `${MAX_FAILURE_MESSAGE_CHARACTERS}, ${MAX_FAILURE_STACK_CHARACTERS}`,
      'a duration': `${MAX_DURATION_MS / (365 * 86_400_000)} years`,
      'messages of a batch, and of all batches of a consumer at a time': `${constant('api/consumer.ts', 'MAX_BATCH_SIZE')}, ${constant('api/consumer.ts', 'MAX_CONCURRENCY')}`,
      'subscriptions of a topic, topics of a space, and messages that one publish or commit makes of a topic': `${MAX_SUBSCRIPTIONS}, ${MAX_TOPICS}, ${MAX_COPIES}`,
      'events that a space keeps, at most': String(MAX_EVENTS_KEPT),
      'access tokens of a space, and scopes of one': `${MAX_ACCESS_TOKENS}, ${MAX_SCOPES}`,
      "characters of a token's label, and of a scope's glob or prefix": `${MAX_LABEL_CHARACTERS}, ${constant('model/scopes.ts', 'MAX_PATTERN_CHARACTERS')}`,
      "minutes of a channel's metrics, and days of usage": `${METRICS_MINUTES}, ${USAGE_DAYS}`,
      'rows of usage that a broker begins in a day': String(MAX_USAGE_ROWS),
      'backups at a time, and what waits for a slow one': `${constant('broker/backups.ts', 'MAX_BACKUPS')}, ${constant('broker/backup.ts', 'MAX_WAITING_BYTES')} bytes`,
      'memory of an isolate, at least, as a process and as a thread': leastMemory(),
      'processes of one holdfast worker': String(constant('cli/commands/worker.ts', 'MAX_PROCESSES')),
      'how long close waits for a broker that cannot be reached': duration(
        constant('api/holdfast.ts', 'UNREACHABLE_MS'),
      ),
      'entries of the journal, and their age': `${DEFAULT_JOURNAL_BOUNDS.count}, ${DEFAULT_JOURNAL_BOUNDS.ageMs / 3_600_000}h`,
    });
  });
});

test('docs/kv.md names every limit of KV as the code has it', () => {
  const [, ...table] = rows('docs/kv.md', 'Limits');
  const found = table.map(([option = '', value = '', most = '']) => [option, Number.parseFloat(value), Number(most)]);
  const { maxKeyBytes, ...defaults } = resolveKvOptions();
  expect(new Set(found.map(([option]) => option))).toEqual(new Set(Object.keys(defaults)));
  expect(maxKeyBytes).toBe(defaults.maxAtomicBytes / 10);
  for (const [option = '', value, most] of found) {
    const name = option as keyof KvOptions;
    expect([option, value]).toEqual([option, defaults[name]]);
    expect(resolveKvOptions({ [name]: Number(most) })[name]).toBe(most);
    expect(() => resolveKvOptions({ [name]: Number(most) + 1 })).toThrow(RangeError);
  }
});

test('docs/lifecycle.md has the table of transitions of the code', () => {
  const expected = STATES.flatMap((state) =>
    HAPPENINGS.flatMap((happening) => {
      const after = nextState(state, happening);
      return after === undefined ? [] : [`${state} ${happening} ${after}`];
    }),
  );
  const [, ...found] = rows('docs/lifecycle.md', 'All transitions').map((cells) => cells.join(' '));
  expect(found.sort()).toEqual(expected.sort());
});

const DAY_MS = 86_400_000;

function duration(ms: number): string {
  const units = [
    [DAY_MS, 'd'],
    [3_600_000, 'h'],
    [60_000, 'm'],
    [1_000, 's'],
  ] as const;
  const [size, unit] = units.find(([unitMs]) => ms % unitMs === 0) ?? ([1, 'ms'] as const);
  return `${ms / size}${unit}`;
}

function orFalse(ms: number): string {
  return ms === 0 ? 'false' : duration(ms);
}

function retention({ count, ageMs }: Retention): string {
  return `${count} or ${ageMs === undefined ? 'for ever' : duration(ageMs)}`;
}

function backoffText(backoff: typeof DEFAULT_POLICY.backoff): string {
  if (backoff.kind !== 'exponential') return backoff.kind;
  const { delayMs, factor, maxMs, jitter } = backoff;
  return `exponential, ${duration(delayMs)}, factor ${factor}, max ${duration(maxMs)}, jitter ${jitter}`;
}

function errorOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('Cannot read the message of an error: there was none');
}
