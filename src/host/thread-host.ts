/** The other end of the broker's thread: starts it, connects to it, and ends it. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { LogLine } from '../broker/broker-options.ts';
import { type ErrorCode, HoldfastError } from '../model/errors.ts';
import type { Connect } from '../model/link.ts';
import { portLink } from '../wire/port-link.ts';
import { ExitGate } from '../store/exit-gate.ts';
import type { HostOptions } from './host-options.ts';

/** What the thread is started with. */
export interface ThreadOrder {
  readonly options: HostOptions;
  /** The memory of an {@link ExitGate}. */
  readonly gate: SharedArrayBuffer;
}

export type ToThread = { readonly kind: 'connect'; readonly port: MessagePort } | { readonly kind: 'close' };

export type FromThread =
  | { readonly kind: 'started' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly detail: string | undefined }
  | {
      readonly kind: 'log';
      readonly level: LogLine['level'];
      readonly message: string;
      readonly detail: string | undefined;
    };

/** A broker in a thread of its own. */
export interface ThreadHost {
  readonly connect: Connect;
  readonly close: () => Promise<void>;
}

/** @throws HoldfastError as `startHost` */
export async function startThread(options: HostOptions, log: (line: LogLine) => void): Promise<ThreadHost> {
  const gate = new ExitGate();
  const worker = new Worker(new URL('./thread.js', import.meta.url), {
    workerData: { options, gate: gate.memory } satisfies ThreadOrder,
    name: 'holdfast broker',
    ...threadFlags(),
  });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  shutAtExit(gate);
  void ended.then(() => leaveOpenAtExit(gate));
  let died: HoldfastError | undefined;
  worker.on('error', (cause) => {
    died = new HoldfastError('BROKER_FAILED', 'The broker thread has died', { cause });
    log({ level: 'error', message: died.message, error: cause });
  });
  await new Promise<void>((resolve, reject) => {
    worker.on('message', (message: FromThread) => {
      if (message.kind === 'started') resolve();
      else if (message.kind === 'log') log({ level: message.level, message: message.message, error: message.detail });
      else if (message.kind === 'failed') {
        reject(new HoldfastError(message.code, message.message, { cause: message.detail }));
        gate.shut();
        void worker.terminate();
      }
    });
    void ended.then(() =>
      reject(died ?? new HoldfastError('BROKER_FAILED', 'The broker thread ended before it began')),
    );
  });
  // A process that only produces may end; what keeps it alive is a link that somebody waits for.
  worker.unref();
  return {
    async connect() {
      if (died !== undefined) throw died;
      const { port1, port2 } = new MessageChannel();
      worker.postMessage({ kind: 'connect', port: port2 } satisfies ToThread, [port2]);
      return portLink(port1);
    },
    async close() {
      worker.ref();
      const closed = new Promise<void>((resolve) => {
        worker.on('message', (message: FromThread) => {
          if (message.kind === 'closed') resolve();
        });
      });
      worker.postMessage({ kind: 'close' } satisfies ToThread);
      await Promise.race([closed, ended]);
      gate.shut();
      await worker.terminate();
    },
  };
}

/** Gates of the threads that the end of the process would stop. */
const gates = new Set<ExitGate>();

function shutAll(): void {
  for (const gate of gates) gate.shut();
}

function shutAtExit(gate: ExitGate): void {
  if (gates.size === 0) process.on('exit', shutAll);
  gates.add(gate);
}

function leaveOpenAtExit(gate: ExitGate): void {
  gates.delete(gate);
  if (gates.size === 0) process.off('exit', shutAll);
}

/**
 * A thread has the flags of its process unless it is given its own. A process whose script is a text has a flag that
 * a thread refuses; and most flags can be inherited only, not given.
 */
function threadFlags(): { execArgv?: string[] } {
  return process.execArgv.some((flag) => flag.startsWith('--input-type')) ? { execArgv: [] } : {};
}
