/** An isolate that is a thread. */
import { type MessagePort, parentPort } from 'node:worker_threads';
import type { ToIsolate } from '../api/isolate-messages.ts';
import { serve } from './inside.ts';

const parent = parentPort as MessagePort;
const hear = serve(
  (message) => parent.postMessage(message),
  () => {},
);
parent.on('message', (message: ToIsolate) => hear(message));
