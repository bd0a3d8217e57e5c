/** What a process of the demo does until it is done or killed: `process.js ORDER`. */
import { allEnded } from '../backlog.ts';
import { inLanes } from '../lanes.ts';
import { type AddedFile, dedupeKeyOf, type DemoChannels, openChannels } from './channels.ts';
import { digestFile } from './file-digest.ts';
import { listFolder, pathBelow } from './folder.ts';
import { leave, openData, order, report, Steps, told } from './member.ts';

const PRODUCES_IN_FLIGHT = 64;
const HANDLERS = 16;
const REPORT_MS = 100;
const LOOK_MS = 25;

const steps = new Steps();
const ending = told('end');
const produced = order.isProduced ? Promise.resolve() : told('produced');
const holdfast = await openData();
const channels = openChannels(holdfast);
switch (order.role) {
  case 'broker':
    report({ kind: 'ready' });
    await ending;
    break;
  case 'producer':
    report({ kind: 'ready' });
    await produceFiles((await listFolder(order.folder, order.data)).files, channels);
    break;
  case 'worker':
    await work(channels);
    break;
}
await holdfast.close();
leave();

/** Stores the files that are not stored yet, several at a time; the others are known by their dedupe keys. */
async function produceFiles(paths: readonly Buffer[], { added }: DemoChannels): Promise<void> {
  await inLanes(paths, PRODUCES_IN_FLIGHT, async (path) => {
    await steps.take();
    await added.produce({ path: new Uint8Array(path) }, { dedupeKey: dedupeKeyOf(path) });
  });
}

/** Works on what is there and what comes, until every file has its message and none is left. */
async function work({ added, hashed }: DemoChannels): Promise<void> {
  const consumer = await added.consume(
    async ({ path }: AddedFile, { tx }) => {
      await steps.take();
      const digest = await digestFile(pathBelow(order.folder, path));
      tx.produce(hashed, { path, sha256: digest.sha256 });
      return digest;
    },
    { concurrency: HANDLERS },
  );
  report({ kind: 'ready' });
  const reporter = setInterval(() => void reportProgress(added), REPORT_MS);
  await produced;
  await allEnded(added, LOOK_MS);
  clearInterval(reporter);
  await reportProgress(added);
  await consumer.drain();
}

async function reportProgress(added: DemoChannels['added']): Promise<void> {
  const { totals, completed, dead } = await added.inspect();
  report({ kind: 'progress', stored: totals.produced, ended: completed + dead });
}
