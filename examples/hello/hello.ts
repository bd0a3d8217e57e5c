/** The smallest program: one message, one handler, one result. From Node 22.18 on, `node hello.ts` runs it. */
import { open } from 'holdfast';

const hf = await open('memory:');
const greetings = hf.channel<{ name: string }, string>('greeting');

await greetings.consume(({ name }) => `Hello ${name}`);
console.log(await greetings.request({ name: 'world' }));

await hf.close();
