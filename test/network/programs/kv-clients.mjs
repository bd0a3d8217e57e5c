/**
 * Clients of KV at work, for a checker of what they were told: `node kv-clients.mjs SETTINGS`, with SETTINGS as JSON `{ url,
 * options, space, name, clients, operations }`. It opens the URL once a client, says `{ ready }`, and begins with the line
 * `begin` on its standard input. It says a line for each operation before that is asked for, `{ op, calledAt, action }`, and
 * one for its answer, `{ op, answeredAt, answer }`, in the words of `KvOperation`, with times of the machine's monotonic
 * clock; at last `{ done }`.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { HoldfastError, open } from 'holdfast';

const { url, options = {}, space, name, clients, operations } = JSON.parse(process.argv[2]);

const now = () => Number(process.hrtime.bigint()) / 1e6;
/**
 * Out of the process before anything is asked for, whoever kills it then: a stream keeps to itself what a slow reader has not
 * taken, and an operation that nobody was told of cannot be explained.
 */
const say = (line) => void writeSync(1, `${JSON.stringify(line)}\n`);
const oneOf = (choices) => choices[Math.floor(Math.random() * choices.length)];

let next = 1;

/** Says that something is asked for, and gives what says what came of it. */
function begin(action) {
  const op = `${name} ${next++}`;
  say({ op, calledAt: now(), action });
  return (answer) => say({ op, answeredAt: now(), answer });
}

const version = (versionstamp) => Number.parseInt(versionstamp.slice(0, 16), 16);
const key = (part) => [space, part];

/** A transaction, each run of which reads these entries and makes changes of what it has read. */
async function transact(hf, reads, changesOf, more = () => {}) {
  let heard;
  try {
    await hf.transact(async (tx) => {
      // It runs again because a check did not hold.
      heard?.({ kind: 'conflict' });
      heard = undefined;
      const checks = [];
      const values = [];
      for (const part of reads) {
        const told = begin({ kind: 'read', keys: [part] });
        const { value, versionstamp } = await tx.get(key(part));
        const text = value === null ? undefined : String(value.value ?? value);
        told({ kind: 'read', entries: [text === undefined ? null : { value: text, version: version(versionstamp) }] });
        checks.push({ key: part, version: versionstamp === null ? 0 : version(versionstamp) });
        values.push(text);
      }
      const changes = changesOf(values);
      for (const change of changes) {
        if (change.kind === 'set') tx.set(key(change.key), Number(change.value));
        else if (change.kind === 'delete') tx.delete(key(change.key));
        else if (change.key !== 'messages') tx.sum(key(change.key), BigInt(change.by));
      }
      more(tx);
      heard = begin({ kind: 'commit', checks, changes });
    });
    heard({ kind: 'committed' });
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    // Nobody knows whether it has happened.
    if (error.code !== 'UNKNOWN_OUTCOME' && error.code !== 'CONFLICT') throw error;
  }
}

let unique = 0;

async function work(hf) {
  const channel = hf.channel(`${space}/messages`, { retain: { completed: false } });
  await channel.inspect();
  await begun;
  for (let i = 0; i < operations; i++) {
    const part = oneOf(['x', 'y']);
    const number = String(Math.floor(1e6 * Math.random()) * 1_000 + unique++);
    switch (oneOf(['read', 'check', 'check', 'set', 'delete', 'produce', 'produce', 'count', 'look'])) {
      case 'read':
        await transact(hf, ['x', 'y'], () => []);
        break;
      case 'check':
        await transact(hf, [part], ([value]) => [{ kind: 'set', key: part, value: String(Number(value ?? 0) + 1) }]);
        break;
      case 'set':
        await transact(hf, [], () => ['x', 'y'].map((one) => ({ kind: 'set', key: one, value: number })));
        break;
      case 'delete':
        await transact(hf, [], () => [{ kind: 'delete', key: part }]);
        break;
      case 'produce':
        await transact(
          hf,
          [],
          () => [
            { kind: 'sum', key: 'n', by: '1' },
            { kind: 'sum', key: 'messages', by: '1' },
          ],
          (tx) => tx.produce(channel, i),
        );
        break;
      case 'count':
        await transact(hf, ['n'], () => []);
        break;
      case 'look': {
        const told = begin({ kind: 'read', keys: ['messages'] });
        const { produced } = (await channel.inspect()).totals;
        told({ kind: 'read', entries: [produced === 0 ? null : { value: String(produced) }] });
        break;
      }
    }
  }
  await hf.close();
}

let start = () => {};
const begun = new Promise((done) => (start = done));
createInterface({ input: process.stdin }).on('line', () => start());

const opened = await Promise.all(Array.from({ length: clients }, () => open(url, { log: () => {}, ...options })));
const working = opened.map(work);
say({ ready: process.pid });
await Promise.all(working);
say({ done: name });
process.exit(0);
