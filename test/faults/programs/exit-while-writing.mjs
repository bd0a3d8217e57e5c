// Opens the folder that is its first argument, writes messages that the store puts in place in long transactions, and
// exits, so many milliseconds after the first of them is durable as its second argument says.
import { open } from 'holdfast';

const [folder, delayMs] = process.argv.slice(2);
const holdfast = await open(`file:${folder}`);
const channel = holdfast.channel('large');
const messages = Array.from({ length: 4 }, () => new Uint8Array(2_000_000));
await channel.produceAll(messages);
setTimeout(() => process.exit(0), Number(delayMs));
for (;;) await channel.produceAll(messages);
