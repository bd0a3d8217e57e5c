import { type Holdfast, open } from 'holdfast';
import type { ApiFactory } from 'holdfast/testing';
import { afterAll, beforeAll, describe } from 'vitest';
import { createHoldfast } from '#holdfast/api/holdfast.js';
import { Client } from '#holdfast/client/client.js';
import { startHost } from '#holdfast/host/host.js';
import { processName } from '#holdfast/host/process-name.js';
import { systemClock } from '#holdfast/model/clock.js';
import type { Link } from '#holdfast/model/link.js';
import { systemRandom } from '#holdfast/model/random.js';
import { localLink } from '#holdfast/wire/local-link.js';
import { endsBehindFile, folderOfFile, runAll, sharedBy } from './conformance.ts';
import { startWorker } from './processes.ts';

/** Several instances on one store in memory, which `open` gives only one of. */
const inMemory: ApiFactory = async () => {
  const tools = { clock: systemClock, random: systemRandom, log: () => {} };
  const options = { space: 'default', host: processName, place: undefined, reserveBytes: 0, sessionTimeoutMs: 30_000 };
  const host = await startHost({ ...options, target: { kind: 'memory' } }, tools);
  return {
    async open() {
      const connect = async (): Promise<Link> => {
        const link = localLink(systemClock);
        host.accept(link.broker);
        return link.client;
      };
      const client = new Client({ connect, host: processName, clock: systemClock, random: systemRandom });
      await client.open();
      return createHoldfast(client, async () => {});
    },
    dispose: () => host.close(),
  };
};

/** Keeps a store open behind all cases: a thread takes longer to start than most of them take. */
function keepOpen(url: string): void {
  let hf: Holdfast;
  beforeAll(async () => {
    hf = await open(url);
  });
  afterAll(() => hf.close());
}

describe('in memory', () => runAll(inMemory));

describe('in a folder, without a thread of its own, opened anew for each case', () => {
  const url = `file:${folderOfFile()}`;
  runAll(sharedBy(() => url, { thread: false }));
});

describe('in a folder, with a thread of its own', () => {
  const url = `file:${folderOfFile()}`;
  keepOpen(url);
  runAll(sharedBy(() => url));
});

describe('in a folder that another process leads', () => {
  const url = `file:${folderOfFile()}`;
  const endBehind = endsBehindFile();
  beforeAll(() => startWorker({ url, consume: false, endBehind }));
  keepOpen(url);
  runAll(sharedBy(() => url));
});
