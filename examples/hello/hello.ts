/** The smallest program: one message, one handler, one result. Run it with `node hello.ts` on Node 24. */
import { open } from 'holdfast';

const hf = await open('memory:');
const greetings = hf.channel<{ name: string }, string>('greeting');

await greetings.consume(({ name }) => `Hello ${name}`);
console.log(await greetings.request({ name: 'world' }));

await hf.close();
