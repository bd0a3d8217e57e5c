// Opens the folder that is its argument, says so, and produces one batch after the other.
import { writeSync } from 'node:fs';
import { open } from 'holdfast';

const holdfast = await open(`file:${process.argv[2]}`);
const channel = holdfast.channel('endless');
await channel.produce('first');
writeSync(1, 'open\n');
for (;;) await channel.produceAll(Array.from({ length: 100 }, () => 'x'.repeat(500)));
