// What the handler does is said by its message.
import { isMainThread, threadId } from 'node:worker_threads';
import { deadLetter, rateLimited, retry, waitForChildren } from 'holdfast';

let handled = 0;

export default async function handle(job, context) {
  handled += 1;
  switch (job.do) {
    case 'echo':
      return { value: job.value, process: process.pid, isMainThread, threadId, handled };
    case 'context': {
      const { id, channel, attempt, token, redelivered, producedAt, schedule } = context;
      await context.progress({ half: true });
      await context.log('a line');
      await context.extend('1m');
      return { id, channel, attempt, token, redelivered, producedAt, schedule };
    }
    case 'produce':
      context.tx.produce('thumbs', { of: job.value }, { priority: 3 });
      if (job.fails === true) throw new Error('not after all');
      return undefined;
    case 'produce elsewhere':
      context.tx.produce('elsewhere', 1);
      return undefined;
    case 'add children': {
      const results = [];
      for await (const { key, result } of context.children('thumbs')) results.push(`${key} ${result}`);
      if (results.length > 0) return results;
      context.addChild('thumbs', 1, { key: 'first' });
      context.addChild('thumbs', 2, { key: 'second', priority: 3 });
      if (job.fails === true) return 'nobody waits for them';
      context.tx.set(['waited'], true);
      return waitForChildren();
    }
    case 'throw':
      throw new RangeError('too large');
    case 'hold':
      return held.has(context.id) ? context.attempt : holdBack(context.id, job.value);
    case 'retry':
      return context.attempt === 1 ? retry({ delay: 0 }) : 'second time';
    case 'give up':
      return deadLetter('no use');
    case 'exit':
      return process.exit(9);
    case 'crash':
      return process.kill(process.pid, 'SIGSEGV');
    case 'uncaught':
      setImmediate(() => {
        throw new Error('nobody caught it');
      });
      return new Promise(() => {});
    case 'fill heap': {
      const hold = [];
      for (;;) hold.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));
    }
    case 'fill buffers': {
      const hold = [];
      for (;;) hold.push(Buffer.alloc(1024 * 1024, 1));
    }
    case 'block':
      await context.log('it runs');
      for (;;);
    case 'block for':
      for (const until = Date.now() + job.value; Date.now() < until;);
      return 'done';
    case 'until stopped':
      await context.log('it runs');
      return new Promise((resolve) => {
        context.signal.addEventListener('abort', () => {
          context.log(`stopped: ${context.signal.reason.message}`).catch(() => {});
          resolve(context.signal.reason.code);
        });
      });
    case 'for ever':
      await context.log('it runs');
      return new Promise(() => {});
    default:
      return typeof job;
  }
}

const held = new Set();

/** The first time that it sees a message, its channel or its group is to wait. */
function holdBack(id, of) {
  held.add(id);
  return rateLimited(200, { of });
}
