// Exports its consumer, and keeps its module waiting as long as that works.
import { open } from 'holdfast';
import { say } from './say.mjs';

const hf = await open();
export const consumer = await hf.channel('exported').consume((text) => say({ said: 'exported', text }));
await consumer.stopped;
