/**
 * A fixed script of fifty operations on the folder that is its argument: 30 messages stored one by one or together,
 * 18 handled, one delayed one promoted, one cancelled. It says, line by line, what is acknowledged:
 *
 *     stored <id>      produce has resolved
 *     completed <id>   the result came, so the ack and the effect are durable
 *     cancelled <id>   cancel has resolved
 *     failed <code>    an operation was refused, and the script ended
 */
import { writeSync } from 'node:fs';
import { open } from 'holdfast';

const HANDLED = 18;

try {
  const holdfast = await open(`file:${process.argv[2]}`, { log: () => {} });
  const jobs = holdfast.channel('jobs', { retain: { completed: false }, backoff: 1 });
  const effects = holdfast.channel('effects');
  const ids = [];
  for (let group = 0; group < 5; group++) {
    const single = [0, 1, 2].map((i) => jobs.produce({ number: group * 6 + i }, i === 2 ? { delay: '1h' } : undefined));
    const together = jobs.produceAll([3, 4, 5].map((i) => ({ number: group * 6 + i })));
    for (const receipt of [...(await Promise.all(single)), ...(await together)]) {
      ids.push(receipt.id);
      say(`stored ${receipt.id}`);
    }
  }
  await jobs.cancel(ids[8]);
  say(`cancelled ${ids[8]}`);
  await jobs.promote(ids[2]);
  let left = HANDLED;
  const results = [];
  const enough = new Promise((resolve, reject) => {
    void jobs
      .consume(
        ({ number }, { id, tx }) => {
          tx.produce(effects, { number });
          if (left-- === 0) resolve();
          results.push(jobs.result(id).then(() => say(`completed ${id}`)));
        },
        { prefetch: 4 },
      )
      .then(({ stopped }) => stopped)
      .catch(reject);
  });
  await enough;
  await holdfast.close();
  await Promise.allSettled(results);
} catch (error) {
  say(`failed ${error.code}`);
}

function say(line) {
  writeSync(1, `${line}\n`);
}
