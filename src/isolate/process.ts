/** An isolate that is a process of its own. */
import { DEATH_NOTE_FD } from '../api/isolate.ts';
import type { ToIsolate } from '../api/isolate-messages.ts';
import { serve } from './inside.ts';
import { startWatchdog } from './watchdog.ts';

const hear = serve(
  (message) => {
    if (process.connected) process.send?.(message, () => {});
  },
  ({ parentPid, memoryBytes }) =>
    startWatchdog({ parentPid, orphanedMs: 0, memoryBytes, deathNoteFd: DEATH_NOTE_FD, releaseFd: undefined }),
);

process.on('message', (message: ToIsolate) => hear(message));
// Without its consumer there is nobody to work for.
process.on('disconnect', () => process.exit(0));
// A signal may come to all processes of a group; when to end, the consumer says.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
