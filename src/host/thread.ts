/** The broker's thread: nothing that a handler does to its own event loop can hold the broker up. */
import { BroadcastChannel, type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { HoldfastError } from '../model/errors.ts';
import { systemClock } from '../model/clock.ts';
import { systemRandom } from '../model/random.ts';
import { RELEASE_CHANNEL } from '../model/release.ts';
import { startHost } from './host.ts';
import { Releasable } from './releasable.ts';
import { ExitGate } from '../store/exit-gate.ts';
import { portLink } from '../wire/port-link.ts';
import type { FromThread, ThreadOrder, ToThread } from './thread-host.ts';

const parent = parentPort as MessagePort;
const { options, gate } = workerData as ThreadOrder;
const say = (message: FromThread): void => parent.postMessage(message);

try {
  const host = await startHost(options, {
    clock: systemClock,
    random: systemRandom,
    gate: new ExitGate(gate),
    log: ({ level, message, error }) =>
      say({ kind: 'log', level, message, detail: error instanceof Error ? error.stack : undefined }),
  });
  const clients = new Releasable();
  const releases = new BroadcastChannel(RELEASE_CHANNEL);
  releases.onmessage = () => clients.release();
  releases.unref();
  parent.on('message', (message: ToThread) => {
    if (message.kind === 'connect') host.accept(clients.wrap(portLink(message.port)));
    else void host.close().then(() => say({ kind: 'closed' }));
  });
  say({ kind: 'started' });
} catch (error) {
  const code = error instanceof HoldfastError ? error.code : 'BROKER_FAILED';
  say({ kind: 'failed', code, message: (error as Error).message, detail: (error as Error).stack });
}
