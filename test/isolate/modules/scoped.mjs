/** Each message has a scope that writes down what becomes of it, in the message's log. */
export function scope(job, { log }) {
  if (job.do === 'not open') throw new RangeError('no pool');
  return {
    name: `scope of ${job.value}`,
    async dispose() {
      await log('disposed of');
      if (job.do === 'not dispose') throw new RangeError('stuck');
    },
  };
}

export default async function handle(job, { log, scope: { name } }) {
  await log(`handled in the ${name}`);
  if (job.fails) throw new TypeError('boom');
  return name;
}
