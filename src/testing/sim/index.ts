/** The simulator, as tests and tools use it. */
export { checkHistory } from './checker.ts';
export { MARKS } from './marks.ts';
export type { SimRecord } from './records.ts';
export { simulate, type SimResult } from './run.ts';
