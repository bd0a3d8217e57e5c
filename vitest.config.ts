import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // The built package runs as it ships, unprocessed: its worker thread loads the very same files.
    server: { deps: { external: [/\/dist\//] } },
    // Real processes and synced disks are slow on a busy machine; a test that hangs still ends.
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
