/**
 * A process that works on the channel "work": `node worker.mjs SETTINGS`, with SETTINGS as JSON `{ url, options, name,
 * concurrency, consume }`. It says a line of JSON for whatever happens, and takes lines on its standard input:
 *
 * - `release`: handlers that hold their message go on
 * - `produce FROM COUNT`: produces so many messages, numbered from there, one after the other
 * - `close`: closes in good order and ends
 *
 * Each handler produces its effect, a message of the channel "effect", together with its ack.
 */
import { createInterface } from 'node:readline';
import { open } from 'holdfast';

const { url, options = {}, name, concurrency = 1, consume = true } = JSON.parse(process.argv[2]);

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

let release = () => {};
const released = new Promise((done) => (release = done));

const hf = await open(url, { log: ({ message }) => say({ log: message }), ...options });
const work = hf.channel('work');
const effects = hf.channel('effect');

async function handle(message, { id, attempt, signal, tx }) {
  const { n, act, ms = 0 } = message;
  say({ started: n, attempt, id });
  signal.addEventListener('abort', () => say({ stopped: n, why: signal.reason.message }));
  if (act === 'hold') await released;
  if (act === 'block') {
    const until = performance.now() + ms;
    while (performance.now() < until);
  }
  tx.produce(effects, { n, by: name });
  say({ ended: n });
}

if (consume) {
  const onError = ({ code, message }) => say({ error: code, message });
  const consumer = await work.consume(handle, { concurrency, onError });
  consumer.stopped.catch((error) => say({ failed: error.message }));
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, ...numbers] = line.split(' ');
  if (word === 'release') release();
  else if (word === 'close') void hf.close().then(() => process.exit(0));
  else if (word === 'produce') void produce(...numbers.map(Number));
});

async function produce(from, count) {
  for (let n = from; n < from + count; n++) await work.produce({ n });
  say({ produced: from });
}

say({ ready: process.pid });
