/**
 * Clients of KV at work, for a checker of what they were told: `node kv-clients.mjs SETTINGS`, with SETTINGS as JSON `{ url,
 * options, space, name, seed, clients, operations, deno }`. It opens the URL once a client, with the package `@deno/kv` where
 * `deno` is the folder that this is installed in; says `{ ready }`; and begins with the line `begin` on its standard input.
 * A client ends behind so many operations, or behind the line `end`. What it chooses follows from the seed. Behind the line
 * `change` it does nothing any more but changes without a check, and says `{ changing }` when it begins with that.
 *
 * It says a line for each operation before that is asked for, `{ op, calledAt, action, message }`, and one for its answer, `{
 * op, answeredAt, answer }`, in the words of `KvOperation`, with times of the machine's monotonic clock; `{ op, open }` where
 * nobody knows what came of it; at last `{ done }`. `message` says that one with the text `op` was added in the same commit:
 * to the queue of KV, or to the channel `SPACE/messages`. What changes something leaves a mark as well, the entry
 * `[SPACE, 'marks', op]`.
 */
import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { HoldfastError, open } from 'holdfast';
import { seededRandom } from '#holdfast/model/random.js';

const settings = JSON.parse(process.argv[2]);
const { url, options = {}, space, name, seed, clients, operations = Infinity, deno } = settings;

const now = () => Number(process.hrtime.bigint()) / 1e6;
/**
 * Out of the process before anything is asked for, whoever kills it then: a stream keeps to itself what a slow reader has not
 * taken, and an operation that nobody was told of cannot be explained.
 */
function say(line) {
  for (let left = Buffer.from(`${JSON.stringify(line)}\n`); left.length > 0;) {
    try {
      left = left.subarray(writeSync(1, left));
    } catch (error) {
      // What came before has not been read yet.
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

let next = 1;
const newOperation = () => `${name} ${next++}`;

/** Says that something is asked for, and gives what says what came of it. */
function begin(action, { op = newOperation(), message } = {}) {
  say({ op, calledAt: now(), action, message });
  return {
    told: (answer) => say({ op, answeredAt: now(), answer }),
    /** Nobody knows whether it has happened. */
    isOpen: () => say({ op, open: true }),
  };
}

const version = (versionstamp) => Number.parseInt(versionstamp.slice(0, 16), 16);
const key = (part) => [space, part];
const check = (part, { versionstamp }) => ({ key: part, version: versionstamp === null ? 0 : version(versionstamp) });
const text = ({ value }) => (value === null ? undefined : String(value.value ?? value));
const entry = (read) =>
  read.versionstamp === null ? null : { value: text(read), version: version(read.versionstamp) };

/** What is written in a commit; the key "messages" stands for what a channel counts by itself. */
function write(op, changes, target) {
  if (changes.length > 0) target.set([space, 'marks', op], true);
  for (const change of changes) {
    if (change.kind === 'set') target.set(key(change.key), Number(change.value));
    else if (change.kind === 'delete') target.delete(key(change.key));
    else if (change.key !== 'messages') target.sum(key(change.key), BigInt(change.by));
  }
}

const increment = (part) => ({ kind: 'sum', key: part, by: '1' });

let unique = 0;

/** One that no client sets a second time. */
function newNumber(random) {
  return String(Math.floor(1e6 * random.fraction()) * 1_000 + unique++);
}

/** Operations that are a single commit without a check. */
const CHANGES = ['set', 'setAtOnce', 'delete', 'sum', 'enqueue', 'produce'];

/** Operations of KV in the shape that it has on Deno. @param attempt does an operation, unless the connection is lost */
function atomicOperations(kv, random, attempt) {
  const read = (parts) =>
    attempt({ kind: 'read', keys: parts }, {}, async () => {
      const entries = await kv.getMany(parts.map(key));
      return { entries, answer: { kind: 'read', entries: entries.map(entry) } };
    });
  const commit = (seen, changes, message) => {
    const op = newOperation();
    const checks = seen.map(([part, one]) => check(part, one));
    return attempt({ kind: 'commit', checks, changes }, { op, message }, async () => {
      const atomic = kv.atomic();
      for (const [part, { versionstamp }] of seen) atomic.check({ key: key(part), versionstamp });
      write(op, changes, atomic);
      if (message === 'queue') atomic.enqueue(op);
      const result = await atomic.commit();
      const answer = result.ok ? { kind: 'committed', version: version(result.versionstamp) } : { kind: 'conflict' };
      return { answer };
    });
  };
  return {
    async check(part) {
      const found = await read([part]);
      if (found === undefined) return;
      const [one] = found.entries;
      await commit([[part, one]], [{ kind: 'set', key: part, value: String(Number(text(one) ?? 0) + 1) }]);
    },
    set: () => {
      const value = newNumber(random);
      return commit(
        [],
        ['x', 'y'].map((part) => ({ kind: 'set', key: part, value })),
      );
    },
    delete: (part) => commit([], [{ kind: 'delete', key: part }]),
    read: () => read(['x', 'y', 'n']),
    sum: () => commit([], [increment('n')]),
    enqueue: () => commit([], [increment('n')], 'queue'),
    async enqueueChecked(part) {
      const found = await read([part, 'n']);
      if (found === undefined) return;
      const seen = [[part, found.entries[0]]];
      await commit(seen, [{ kind: 'delete', key: part }, increment('n')], 'queue');
    },
  };
}

/** A transaction, each run of which reads these entries and makes changes of what it has read. */
async function transact(hf, reads, changesOf, channel) {
  let heard;
  try {
    await hf.transact(async (tx) => {
      // It runs again because a check did not hold.
      heard?.told({ kind: 'conflict' });
      heard = undefined;
      const op = newOperation();
      const checks = [];
      const values = [];
      for (const part of reads) {
        const { told } = begin({ kind: 'read', keys: [part] });
        const read = await tx.get(key(part));
        told({ kind: 'read', entries: [entry(read)] });
        checks.push(check(part, read));
        values.push(text(read));
      }
      const changes = changesOf(values);
      write(op, changes, tx);
      if (channel !== undefined) tx.produce(channel, op);
      heard = begin({ kind: 'commit', checks, changes }, { op, message: channel && 'channel' });
    });
    heard.told({ kind: 'committed' });
  } catch (error) {
    if (!isUnknown(error)) throw error;
    heard?.isOpen();
  }
}

/** Nobody knows whether it has happened; or it has not, because what it read was never as it had been. */
function isUnknown(error) {
  return error instanceof HoldfastError && (error.code === 'UNKNOWN_OUTCOME' || error.code === 'CONFLICT');
}

/** A client of this package. */
async function openHoldfast(random) {
  const hf = await open(url, { log: () => {}, ...options });
  const channel = hf.channel(`${space}/messages`, { retain: { completed: false } });
  await channel.inspect();
  const attempt = async (action, more, ask) => {
    const begun = begin(action, more);
    try {
      const found = await ask();
      begun.told(found.answer);
      return found;
    } catch (error) {
      if (!isUnknown(error)) throw error;
      return begun.isOpen();
    }
  };
  return {
    operations: {
      ...atomicOperations(hf.kv, random, attempt),
      transact: (part) =>
        transact(hf, [part], ([value]) => [{ kind: 'set', key: part, value: String(Number(value ?? 0) + 1) }]),
      readOneByOne: () => transact(hf, ['x', 'y'], () => []),
      setAtOnce: () => {
        const value = newNumber(random);
        return transact(hf, [], () => ['x', 'y'].map((part) => ({ kind: 'set', key: part, value })));
      },
      produce: () => transact(hf, [], () => [increment('n'), increment('messages')], channel),
      produceChecked: () => transact(hf, ['n'], () => [increment('n'), increment('messages')], channel),
      async look() {
        const { told } = begin({ kind: 'read', keys: ['messages'] });
        const { produced } = (await channel.inspect()).totals;
        told({ kind: 'read', entries: [produced === 0 ? null : { value: String(produced) }] });
      },
    },
    close: () => hf.close(),
  };
}

/** How often the server was started again, as far as this process was told. */
let restarts = 0;
let hearOfRestart = () => {};
let restarted = new Promise((done) => (hearOfRestart = done));

/** A client of Deno's package, whose requests are lost with the connection. */
async function openDeno(random) {
  const { openKv } = createRequire(join(deno, 'package.json'))('@deno/kv');
  const kv = await openKv(url, { accessToken: 'none' });
  const attempt = async (action, more, ask) => {
    const before = restarts;
    const begun = begin(action, more);
    try {
      const found = await ask();
      begun.told(found.answer);
      return found;
    } catch (error) {
      // So `fetch` says that there was no connection, or no whole answer.
      if (!(error instanceof TypeError && error.cause instanceof Error)) throw error;
      begun.isOpen();
      while (restarts === before) await restarted;
      return undefined;
    }
  };
  return { operations: atomicOperations(kv, random, attempt), close: () => kv.close() };
}

let isOver = false;
let onlyChanges = false;

async function work({ operations: known, close }, random, number) {
  const oneOf = (choices) => choices[Math.floor(random.fraction() * choices.length)];
  await begun;
  const all = Object.keys(known);
  let names = all;
  for (let i = 0; i < operations && !isOver; i++) {
    if (onlyChanges && names === all) {
      names = all.filter((one) => CHANGES.includes(one));
      say({ changing: number });
    }
    await known[oneOf(names)](oneOf(['x', 'y']));
  }
  await close();
}

let start = () => {};
const begun = new Promise((done) => (start = done));
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'begin') start();
  else if (line === 'end') isOver = true;
  else if (line === 'change') onlyChanges = true;
  else if (line === 'restarted') {
    restarts += 1;
    hearOfRestart();
    restarted = new Promise((done) => (hearOfRestart = done));
  }
});

const randoms = Array.from({ length: clients }, (_, i) => seededRandom(seed * 1_000 + i));
const opened = await Promise.all(randoms.map(deno === undefined ? openHoldfast : openDeno));
const working = opened.map((one, i) => work(one, randoms[i], i));
say({ ready: process.pid });
await Promise.all(working);
say({ done: name });
process.exit(0);
