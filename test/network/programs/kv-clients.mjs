/**
 * Clients of KV at work, for a checker of what they were told: `node kv-clients.mjs SETTINGS`, with SETTINGS as JSON `{ name,
 * seed, ways: [{ space, url, options, deno }], clients, operations }`. So many clients open the URL of each way, with the
 * package `@deno/kv` where `deno` is the folder that this is installed in, and work on the entries under `space`. Then the
 * process says `{ ready }`, and begins with the line `begin` on its standard input. What clients choose follows from the seed.
 * Each ends behind so many operations, or behind the line `end`; at last the process says `{ done }`. Other lines:
 *
 * - `restarted`: the server is there again, for those who have lost it
 * - `change`: clients do nothing any more but changes without a check, and say `{ changing }` when they begin with it
 * - `die`: the process kills itself as soon as every client is in the middle of an operation, which behind `change` is one
 *
 * It says a line for each operation before that is asked for, `{ space, op, calledAt, action, message }`, and one for its
 * answer, `{ space, op, answeredAt, answer }`, in the words of `KvOperation`, with times of the machine's monotonic clock; or
 * `{ space, op, open }` where nobody knows what came of it. `message` says that one with the text `op` was added in the same
 * commit: to the queue of KV, or to the channel `SPACE/messages`. What changes something leaves a mark as well, the entry
 * `[SPACE, 'marks', op]`.
 */
import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { HoldfastError, open } from 'holdfast';
import { seededRandom } from '#holdfast/model/random.js';

const { name, seed, ways, clients, operations = Infinity } = JSON.parse(process.argv[2]);

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

/** How many operations are under way. */
let underWay = 0;
let isToDie = false;

/** Looked at when what has been asked for is on its way. */
function dieIfHeldUp() {
  if (isToDie && underWay === ways.length * clients) process.kill(process.pid, 'SIGKILL');
}

/** Says that something is asked for, and gives what says what came of it. */
function begin(space, action, { op = newOperation(), message } = {}) {
  say({ space, op, calledAt: now(), action, message });
  underWay += 1;
  if (isToDie) setImmediate(dieIfHeldUp);
  const end = (line) => {
    say({ space, op, ...line });
    underWay -= 1;
  };
  return {
    told: (answer) => end({ answeredAt: now(), answer }),
    /** Nobody knows whether it has happened. */
    isOpen: () => end({ open: true }),
  };
}

const version = (versionstamp) => Number.parseInt(versionstamp.slice(0, 16), 16);
const check = (part, { versionstamp }) => ({ key: part, version: versionstamp === null ? 0 : version(versionstamp) });
const text = ({ value }) => (value === null ? undefined : String(value.value ?? value));
const entry = (read) =>
  read.versionstamp === null ? null : { value: text(read), version: version(read.versionstamp) };
const increment = (part) => ({ kind: 'sum', key: part, by: '1' });

/** What is written in a commit; the key "messages" stands for what a channel counts by itself. */
function write(space, op, changes, target) {
  if (changes.length > 0) target.set([space, 'marks', op], true);
  for (const change of changes) {
    const key = [space, change.key];
    if (change.kind === 'set') target.set(key, Number(change.value));
    else if (change.kind === 'delete') target.delete(key);
    else if (change.key !== 'messages') target.sum(key, BigInt(change.by));
  }
}

let unique = 0;

/** Sets two entries to a number that no other client of the process sets. */
function setBoth(random) {
  const value = String(Math.floor(1e6 * random.fraction()) * 1_000 + unique++);
  return ['x', 'y'].map((part) => ({ kind: 'set', key: part, value }));
}

/** Operations that are a single commit without a check. */
const CHANGES = ['set', 'setAtOnce', 'delete', 'sum', 'enqueue', 'produce'];

/** Operations of KV in the shape that it has on Deno. @param attempt does an operation; `undefined` when that is left open */
function atomicOperations(kv, space, random, attempt) {
  const read = (parts) =>
    attempt({ kind: 'read', keys: parts }, {}, async () => {
      const entries = await kv.getMany(parts.map((part) => [space, part]));
      return { entries, answer: { kind: 'read', entries: entries.map(entry) } };
    });
  const commit = (seen, changes, message) => {
    const op = newOperation();
    const checks = seen.map(([part, one]) => check(part, one));
    return attempt({ kind: 'commit', checks, changes }, { op, message }, async () => {
      const atomic = kv.atomic();
      for (const [part, { versionstamp }] of seen) atomic.check({ key: [space, part], versionstamp });
      write(space, op, changes, atomic);
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
    set: () => commit([], setBoth(random)),
    delete: (part) => commit([], [{ kind: 'delete', key: part }]),
    read: () => read(['x', 'y', 'n']),
    sum: () => commit([], [increment('n')]),
    enqueue: () => commit([], [increment('n')], 'queue'),
    async enqueueChecked(part) {
      const found = await read([part]);
      if (found === undefined) return;
      await commit([[part, found.entries[0]]], [{ kind: 'delete', key: part }, increment('n')], 'queue');
    },
  };
}

/** Thrown by a transaction that would have to run again, when there is something else to do. */
class GivenUp extends Error {}

/** A transaction, each run of which reads these entries and makes changes of what it has read. */
async function transact(hf, space, reads, changesOf, channel) {
  let heard;
  try {
    await hf.transact(async (tx) => {
      // It runs again because a check did not hold.
      heard?.told({ kind: 'conflict' });
      heard = undefined;
      if (onlyChanges && reads.length > 0) throw new GivenUp();
      const op = newOperation();
      const checks = [];
      const values = [];
      for (const part of reads) {
        const { told } = begin(space, { kind: 'read', keys: [part] });
        const read = await tx.get([space, part]);
        told({ kind: 'read', entries: [entry(read)] });
        checks.push(check(part, read));
        values.push(text(read));
      }
      const changes = changesOf(values);
      write(space, op, changes, tx);
      if (channel !== undefined) tx.produce(channel, op);
      heard = begin(space, { kind: 'commit', checks, changes }, { op, message: channel && 'channel' });
    });
    heard.told({ kind: 'committed' });
  } catch (error) {
    if (error instanceof GivenUp) return;
    if (!isUnknown(error)) throw error;
    heard?.isOpen();
  }
}

/** Nobody knows whether it has happened; or it has not, because what it read was never as it had been. */
function isUnknown(error) {
  return error instanceof HoldfastError && (error.code === 'UNKNOWN_OUTCOME' || error.code === 'CONFLICT');
}

/**
 * Does an operation and says what came of it; gives `undefined` when that is left open.
 * @param goOn awaited then, with the number of restarts before the operation
 */
const attempting =
  (space, isLost, goOn = async () => {}) =>
  async (action, more, ask) => {
    const before = restarts;
    const begun = begin(space, action, more);
    try {
      const found = await ask();
      begun.told(found.answer);
      return found;
    } catch (error) {
      if (!isLost(error)) throw error;
      begun.isOpen();
      await goOn(before);
      return undefined;
    }
  };

/** A client of this package. */
async function openHoldfast({ space, url, options = {} }, random) {
  const hf = await open(url, { log: () => {}, ...options });
  const channel = hf.channel(`${space}/messages`, { retain: { completed: false } });
  await channel.inspect();
  const attempt = attempting(space, isUnknown);
  const messages = [increment('n'), increment('messages')];
  const operations = {
    ...atomicOperations(hf.kv, space, random, attempt),
    transact: (part) =>
      transact(hf, space, [part], ([value]) => [{ kind: 'set', key: part, value: String(Number(value ?? 0) + 1) }]),
    readOneByOne: () => transact(hf, space, ['x', 'y'], () => []),
    setAtOnce: () => transact(hf, space, [], () => setBoth(random)),
    produce: () => transact(hf, space, [], () => messages, channel),
    produceChecked: () => transact(hf, space, ['n'], () => messages, channel),
    async look() {
      const { told } = begin(space, { kind: 'read', keys: ['messages'] });
      const { produced } = (await channel.inspect()).totals;
      told({ kind: 'read', entries: [produced === 0 ? null : { value: String(produced) }] });
    },
  };
  return { operations, close: () => hf.close() };
}

/** So `fetch` says that there was no connection, or no whole answer. */
const isCut = (error) => error instanceof TypeError && error.cause instanceof Error;

/** How often the server was started again, as far as this process was told. */
let restarts = 0;
let hearOfRestart = () => {};
let restarted = new Promise((done) => (hearOfRestart = done));

/** A client of Deno's package, whose requests are lost with the connection. */
async function openDeno({ space, url, deno }, random) {
  const { openKv } = createRequire(join(deno, 'package.json'))('@deno/kv');
  const kv = await openKv(url, { accessToken: 'none' });
  const attempt = attempting(space, isCut, async (before) => {
    while (restarts === before) await restarted;
  });
  return { operations: atomicOperations(kv, space, random, attempt), close: () => kv.close() };
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

const heed = {
  begin: () => start(),
  end: () => (isOver = true),
  change: () => (onlyChanges = true),
  restarted() {
    restarts += 1;
    hearOfRestart();
    restarted = new Promise((done) => (hearOfRestart = done));
  },
  die() {
    isToDie = true;
    dieIfHeldUp();
  },
};
createInterface({ input: process.stdin }).on('line', (line) => heed[line]());

const places = ways.flatMap((way) => Array.from({ length: clients }, () => way));
const randoms = places.map((_, i) => seededRandom(seed * 1_000 + i));
const opened = await Promise.all(
  places.map((way, i) => (way.deno === undefined ? openHoldfast : openDeno)(way, randoms[i])),
);
const working = opened.map((one, i) => work(one, randoms[i], i));
say({ ready: process.pid });
await Promise.all(working);
say({ done: name });
process.exit(0);
