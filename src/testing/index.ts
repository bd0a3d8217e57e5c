/** What tests of applications, and of stores, need. */
export { apiConformance, type ApiConformanceOptions, type ApiFactory, type ApiUnderTest } from './api-conformance.ts';
export { drain, type Drainable, type DrainOptions } from './drain.ts';
export { expectProduced, type Matcher } from './expect-produced.ts';
export type { KvAction, KvAnswer, KvChangeOf, KvHistoryCheck, KvOperation, KvSeen } from './kv-history.ts';
export { checkLinearizable, type Linearizability, type LinearizabilityOptions } from './linearizability.ts';
export { runOne, type RunOutcome } from './run-one.ts';
export { type ConformanceCase, storeConformance, type StoreFactory, type StoreUnderTest } from './store-conformance.ts';
export { TestClock, type TestClockOptions } from './test-clock.ts';
export { createTestHoldfast, type TestHoldfast, type TestHoldfastOptions } from './test-holdfast.ts';
