import { defineConfig } from 'vitest/config';

/**
 * Tests that go by no clock but their own, or set nobody a time: several of these files run at once, and files share a process,
 * for a new one costs more than most of them. All others follow, one after the other and each in a process of its own: what
 * they time, kill or stop would come late beside others.
 */
const BESIDE_OTHERS = [
  'test/{api,broker,cli,codec,docs,kv,machine,model,sim,structure,testing,types,wire}/**/*.test.ts',
  'test/network/conformance-*.test.ts',
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
          name: 'alone',
          include: ['test/**/*.test.ts'],
          exclude: BESIDE_OTHERS,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
