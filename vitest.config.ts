import { defineConfig } from 'vitest/config';

/**
 * Tests that go by no clock but their own, or set nobody a time: several of these files run at once, and files share a process,
 * for a new one costs more than most of them.
 */
const BESIDE_OTHERS = [
  'test/{api,broker,cli,codec,docs,kv,machine,model,sim,structure,testing,types,wire}/**/*.test.ts',
  'test/network/conformance-*.test.ts',
];

/**
 * Tests of whole programs that set nobody a time either, and mostly wait for them: two of these files run at once, each in a
 * process of its own. All others follow, one after the other: what they time, kill or stop would come late beside others.
 */
const TWO_AT_A_TIME = [
  'test/{bench,demo,examples,package,store,torture}/**/*.test.ts',
  'test/deepkit/{door,page}.test.ts',
  'test/faults/{io-errors,corruption}.test.ts',
  'test/bullmq/{asks,bull-board,import,otel,register,stats}.test.ts',
];

export default defineConfig({
  test: {
    // The built package runs as it ships, unprocessed: its worker thread loads the very same files.
    server: { deps: { external: [/\/dist\//] } },
    // Real processes and synced disks are slow on a busy machine; a test that hangs still ends.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'beside others',
          include: BESIDE_OTHERS,
          isolate: false,
          maxWorkers: '100%',
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'two at a time',
          include: TWO_AT_A_TIME,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ['test/**/*.test.ts'],
          exclude: [...BESIDE_OTHERS, ...TWO_AT_A_TIME],
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
