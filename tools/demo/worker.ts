/**
 * The working process: stores one message for each file of the folder and works on them, until all is done or it
 * is killed. Started again on the same data, it goes on where the last one was torn away.
 */
import { open } from 'holdfast';
import { allEnded } from '../backlog.ts';
import { inLanes } from '../lanes.ts';
import { type AddedFile, dedupeKeyOf, type DemoChannels, openChannels } from './channels.ts';
import { digestFile } from './file-digest.ts';
import { listFolder, pathBelow } from './folder.ts';

/** What the working process is told. */
export interface WorkOrder {
  readonly folder: string;
  readonly data: string;
  /** Where it will be killed; `undefined` lets it finish. */
  readonly killPoint: KillPoint | undefined;
}

/** A share, between 0 and 1, of what is left to do in this phase. */
export interface KillPoint {
  readonly phase: 'producing' | 'handling';
  readonly share: number;
}

/** What the working process says. */
export type WorkReport =
  | { readonly kind: 'progress'; readonly stored: number; readonly ended: number }
  /** The point is reached; `at` says how many files were stored, or done, by then. */
  | { readonly kind: 'killPoint'; readonly at: number }
  | { readonly kind: 'done' };

const PRODUCES_IN_FLIGHT = 64;
const HANDLERS = 16;
const REPORT_MS = 100;
const LOOK_MS = 25;

const order = JSON.parse(process.argv[2] as string) as WorkOrder;
// Without the one who started this process there is nobody to work for, and nobody to end it.
const abandoned = (): void => process.exit(1);
process.on('disconnect', abandoned);

const holdfast = await open(`file:${order.data}`);
const channels = openChannels(holdfast);
const { files } = await listFolder(order.folder, order.data);
const reporter = setInterval(() => void countEnded(channels.added), REPORT_MS);
await produceFiles(files, channels.added, brakeFor('producing', 0, files.length));
const ended = await countEnded(channels.added);
const consumer = await consumeFiles(channels, brakeFor('handling', ended, files.length - ended));
await allEnded(channels.added, LOOK_MS);
clearInterval(reporter);
await consumer.drain();
await holdfast.close();
report({ kind: 'done' });
process.off('disconnect', abandoned);
process.disconnect();

/** Stores the files that are not stored yet, several at a time; the others are known by their dedupe keys. */
async function produceFiles(paths: readonly Buffer[], added: DemoChannels['added'], brake: Brake): Promise<void> {
  await inLanes(paths, PRODUCES_IN_FLIGHT, async (path) => {
    await added.produce({ path: new Uint8Array(path) }, { dedupeKey: dedupeKeyOf(path) });
    await brake.step();
    brake.done();
  });
}

async function consumeFiles({ added, hashed }: DemoChannels, brake: Brake): ReturnType<typeof added.consume> {
  return added.consume(
    async ({ path }: AddedFile, { tx }) => {
      await brake.step();
      const digest = await digestFile(pathBelow(order.folder, path));
      tx.produce(hashed, { path, sha256: digest.sha256 });
      brake.done();
      return digest;
    },
    { concurrency: HANDLERS },
  );
}

async function countEnded(added: DemoChannels['added']): Promise<number> {
  const { totals, completed, dead } = await added.inspect();
  report({ kind: 'progress', stored: totals.produced, ended: completed + dead });
  return completed + dead;
}

/** Passed at each step of a phase; lets nobody pass any more once the point is reached at which the kill comes. */
interface Brake {
  step(): Promise<void>;
  /** A file is stored, or its work is done. */
  done(): void;
}

/** @param before how many files were done before @param left how many steps are to come */
function brakeFor(phase: KillPoint['phase'], before: number, left: number): Brake {
  const { killPoint } = order;
  if (killPoint?.phase !== phase) return { step: async () => {}, done: () => {} };
  let steps = Math.max(1, Math.ceil(left * killPoint.share));
  let at = before;
  return {
    step: async () => {
      steps -= 1;
      if (steps === 0) report({ kind: 'killPoint', at });
      // Whoever is under way meanwhile goes on: an ack or a produce may be on its way to the disk when the kill comes.
      if (steps <= 0) await new Promise(() => {});
    },
    done: () => {
      at += 1;
    },
  };
}

function report(message: WorkReport): void {
  if (process.connected) process.send?.(message);
}
