/** The name of this process in the sessions of its clients. */
import { systemRandom } from '../model/random.ts';

/** 32 random hexadecimal digits, others in each process. */
export const processName: string = Array.from(systemRandom.fill(new Uint8Array(16)), (byte) =>
  byte.toString(16).padStart(2, '0'),
).join('');
