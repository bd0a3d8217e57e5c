// Opens the folder that is its argument, stores one message, says so, and stays.
import { writeSync } from 'node:fs';
import { open } from 'holdfast';

const holdfast = await open(`file:${process.argv[2]}`);
const { id } = await holdfast.channel('held').produce('stored before the kill');
writeSync(1, `${id}\n`);
await holdfast.channel('nothing').consume(() => {});
