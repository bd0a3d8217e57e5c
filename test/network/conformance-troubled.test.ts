import { afterAll, beforeAll, describe, expect } from 'vitest';
import { endsBehindFile, folderOfFile, runAll, sharedBy } from './conformance.ts';
import { startServer } from './processes.ts';
import { startTroubledProxy, type TroubledProxy } from './troubled-proxy.ts';

const SEED = 7;

describe(`through a proxy that cuts, delays and doubles, seed ${SEED}`, () => {
  let proxy: TroubledProxy;
  const folder = folderOfFile();
  const endBehind = endsBehindFile();
  beforeAll(async () => {
    const server = await startServer({ folder, sessionTimeoutMs: 30_000, endBehind });
    proxy = await startTroubledProxy(server.port, SEED);
  });
  afterAll(() => {
    proxy.close();
    // Else the cases have shown nothing.
    for (const count of Object.values(proxy.done)) expect(count).toBeGreaterThan(10);
  });
  runAll(
    sharedBy(() => proxy.url),
    true,
  );
});
