/** The simulator, as tests and tools use it. */
export { checkHistory, INVARIANTS, type Violation } from './checker.ts';
export { type Mark, MARKS } from './marks.ts';
export type { SimRecord } from './records.ts';
export { simulate, type SimResult } from './run.ts';
