// Shares the folder that is its argument, makes sure of two schedules and works on their messages. Says when it is ready, when it
// leads, and which ticks have come to it.
import { writeSync } from 'node:fs';
import { open } from 'holdfast';

const say = (line) => writeSync(1, `${line}\n`);
const log = ({ message }) => {
  if (message.startsWith('This process leads')) say('leads');
};
const holdfast = await open(`file:${process.argv[2]}`, { log });
const ticks = holdfast.channel('ticks', { retain: { completed: false } });
await ticks.schedule('interval', { every: 100 }, 'interval', { missed: 'all' });
await ticks.schedule('pattern', { cron: '* * * * * *' }, 'pattern', { missed: 'all' });
await ticks.consume((_, { schedule }) => say(`tick ${schedule.key} ${schedule.at}`), { concurrency: 10 });
say('ready');
