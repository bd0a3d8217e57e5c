/** A worker process: loads the FILEs, and drains what they have opened when it is told to end. */
import { type Holdfast } from '../../api/holdfast.ts';
import { onInstances, openInstances } from '../../api/instances.ts';
import { startWatchdog } from '../../isolate/watchdog.ts';
import { systemClock } from '../../model/clock.ts';
import { HoldfastError } from '../../model/errors.ts';
import { open } from '../../open.ts';
import { loadFile } from './load.ts';
import { type FromWorker, type Place, RELEASE_FD, type ToWorker, type WorkOrder } from './messages.ts';

/** How much longer than its grace a process without a supervisor may live, in milliseconds. */
const ORPHAN_EXTRA_MS = 2_000;

/** In how many looks, all of them in vain, a process is found idle. */
const IDLE_LOOKS = 4;

let order: WorkOrder | undefined;
let isEnding = false;
let isReady = false;

process.on('message', (message: ToWorker) => {
  if (message.kind === 'drain') return void end();
  if (message.kind !== 'start') return;
  order = message.order;
  void work(order);
});
// Without a supervisor there is nobody to work for. A signal may come to all processes of a group at once.
process.on('disconnect', () => void end());
process.on('SIGTERM', () => void end());
process.on('SIGINT', () => void end());

async function work({ files, idleMs, supervisorPid, graceMs, memoryBytes }: WorkOrder): Promise<void> {
  const orphanedMs = graceMs + ORPHAN_EXTRA_MS;
  const dog = { parentPid: supervisorPid, orphanedMs, memoryBytes, deathNoteFd: undefined, releaseFd: RELEASE_FD };
  startWatchdog(dog, () => {
    say({ kind: 'full' });
    void end();
  });
  onInstances(() => void look());
  let shared: Promise<Holdfast> | undefined;
  const load = async (file: string): Promise<void> => {
    try {
      await loadFile(file, () => (shared ??= open()));
    } catch (error) {
      // What fails while everything is being closed fails because of that.
      if (isEnding) return;
      say({ kind: 'failed', file, reason: describe(error), isTransient: isTransient(error) }, () => {
        // Only what nobody catches is printed with its place in the file.
        if (error instanceof SyntaxError) throw error;
        process.exit(1);
      });
      // Nothing that the others load may be taken for a sign that all is well.
      await new Promise(() => {});
    }
  };
  await Promise.all(files.map(load));
  await tellPlaces();
  say({ kind: 'loaded' });
  ready();
  if (idleMs !== undefined) sayWhenIdle(idleMs);
}

/** Something has become of the instances. */
async function look(): Promise<void> {
  if (isEnding) return;
  const failed = openInstances().find(({ failure }) => failure !== undefined)?.failure;
  if (failed !== undefined) {
    // Nothing would come to its consumers any more; a fresh process may do better.
    process.stderr.write(`holdfast: an instance has failed: ${describe(failed)}\n`);
    process.exit(1);
  }
  await tellPlaces();
  if (places().length > 0) ready();
}

function ready(): void {
  if (isReady || isEnding) return;
  isReady = true;
  say({ kind: 'ready' });
}

/** Tells where it listens, when the broker knows that it does. */
async function tellPlaces(): Promise<void> {
  try {
    await Promise.all(openInstances().map((instance) => instance.applied()));
  } catch {
    // It was closed meanwhile, or has failed, which is looked at when it says so.
    return;
  }
  if (!isEnding) say({ kind: 'listens', places: places() });
}

function places(): Place[] {
  return openInstances().flatMap(({ url, space, channels }) => channels.map((channel) => ({ url, space, channel })));
}

function sayWhenIdle(idleMs: number): void {
  let seen = 0;
  let quietLooks = 0;
  const lookAgain = (): void => {
    let [deliveries, held] = [0, 0];
    for (const { work: done } of openInstances()) {
      deliveries += done.deliveries;
      held += done.held;
    }
    quietLooks = held === 0 && deliveries === seen ? quietLooks + 1 : 0;
    seen = deliveries;
    if (quietLooks >= IDLE_LOOKS) say({ kind: 'idle' });
    if (!isEnding) systemClock.timer(idleMs / IDLE_LOOKS, lookAgain);
  };
  lookAgain();
}

/** Lets handlers finish within the grace, gives back the rest, and ends. */
async function end(): Promise<void> {
  if (isEnding) return;
  isEnding = true;
  const graceMs = order?.graceMs ?? 0;
  try {
    // Handlers of one instance may work with another, so all are drained before any is closed.
    await Promise.all(openInstances().map((instance) => instance.drain(graceMs)));
    await Promise.all(openInstances().map((instance) => instance.close()));
    process.exit(0);
  } catch (error) {
    process.stderr.write(`holdfast: cannot close cleanly: ${describe(error)}\n`);
    process.exit(1);
  }
}

function say(message: FromWorker, sent: () => void = () => {}): void {
  if (process.connected) process.send?.(message, sent);
  else sent();
}

function isTransient(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'UNREACHABLE';
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = error instanceof HoldfastError ? ` (${error.code})` : '';
  return `${error.stack ?? error.message}${code}`;
}
