/**
 * A thread that looks after its process where the process itself may be too busy to: a handler may block its event loop for
 * as long as it likes. It ends the process when that has lost its parent, and says, or ends it, when it takes too much memory;
 * and it passes on that the process is about to be killed.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { BroadcastChannel, parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../model/clock.ts';
import { RELEASE_CHANNEL } from '../model/release.ts';
import type { WatchdogOptions } from './watchdog.ts';

/** How often it looks, in milliseconds. */
const LOOK_MS = 100;

const { parentPid, orphanedMs, memoryBytes, deathNoteFd, releaseFd } = workerData as WatchdogOptions;
let isOrphan = false;
let saidFull = false;

systemClock.keepAlive();
look();
if (releaseFd !== undefined) {
  const releases = new BroadcastChannel(RELEASE_CHANNEL);
  // Its end says nothing: whoever would write has died.
  new Socket({ fd: releaseFd }).on('data', () => releases.postMessage('release')).on('error', () => {});
}

function look(): void {
  if (!isOrphan && process.ppid !== parentPid) {
    isOrphan = true;
    systemClock.timer(orphanedMs, endProcess);
  }
  if (memoryBytes !== undefined && process.memoryUsage.rss() > memoryBytes) tooMuchMemory();
  systemClock.timer(LOOK_MS, look);
}

function tooMuchMemory(): void {
  if (deathNoteFd !== undefined) {
    // Whoever reads it knows why the process was killed.
    writeSync(deathNoteFd, 'memory');
    endProcess();
  } else if (!saidFull) {
    saidFull = true;
    parentPort?.postMessage('full');
  }
}

function endProcess(): void {
  process.kill(process.pid, 'SIGKILL');
}
