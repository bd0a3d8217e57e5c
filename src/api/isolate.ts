/** An isolate: a child process or a thread that has a handler's module loaded and runs it for one message at a time. */
import { fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Clock } from '../model/clock.ts';
import type { FromIsolate, LoadOrder, ToIsolate } from './isolate-messages.ts';

export type IsolateKind = 'process' | 'thread';

export interface IsolateOptions {
  readonly kind: IsolateKind;
  /** The address of the module. */
  readonly module: string;
  readonly memoryBytes: number | undefined;
  readonly clock: Clock;
}

export interface Isolate {
  send(message: ToIsolate): void;
  /** Ends it at once. */
  kill(): void;
  /** Resolves with why it has ended. */
  readonly ended: Promise<string>;
}

const MIB = 2 ** 20;

/** The file descriptor over which a process says why it ends, where it is too late for anything else. */
export const DEATH_NOTE_FD = 4;

/** It does not keep this process alive: whoever waits for it does. */
export function startIsolate(options: IsolateOptions, hear: (message: FromIsolate) => void): Isolate {
  const isolate = options.kind === 'process' ? startProcess(options, hear) : startThread(options, hear);
  const { module, memoryBytes } = options;
  isolate.send({ kind: 'load', module, parentPid: process.pid, memoryBytes } satisfies LoadOrder);
  return isolate;
}

function startProcess({ memoryBytes, clock }: IsolateOptions, hear: (message: FromIsolate) => void): Isolate {
  const child = fork(fileURLToPath(new URL('../isolate/process.js', import.meta.url)), [], {
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
    execArgv: [
      ...flagsForChild(process.execArgv),
      // So that garbage is collected before the process takes more than it may.
      ...(memoryBytes === undefined ? [] : [`--max-old-space-size=${Math.ceil(memoryBytes / MIB)}`]),
    ],
  });
  let note = '';
  const notes = child.stdio[DEATH_NOTE_FD] as Socket;
  notes.on('data', (piece: Buffer) => (note += piece.toString()));
  notes.unref();
  child.on('message', hear);
  child.unref();
  child.channel?.unref();
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) => {
      const tell = (): void => {
        if (note === 'memory') resolve(`took more than ${memoryBytes} bytes of memory`);
        else resolve(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`);
      };
      // What it has written arrives with the input of this turn or of the next. To wait for the end of the pipe would be
      // to wait for all processes that the handler has started, too.
      clock.afterInput(() => clock.afterInput(tell));
    });
  });
  return {
    send: (message) => {
      // One that has ended meanwhile says so by itself.
      if (child.connected) child.send(message, () => {});
    },
    kill: () => void child.kill('SIGKILL'),
    ended,
  };
}

function startThread({ memoryBytes }: IsolateOptions, hear: (message: FromIsolate) => void): Isolate {
  const worker = new Worker(new URL('../isolate/thread.js', import.meta.url), {
    name: 'holdfast isolate',
    ...(memoryBytes !== undefined && { resourceLimits: { maxOldGenerationSizeMb: Math.ceil(memoryBytes / MIB) } }),
    // A thread has the flags of its process; one of them it refuses.
    ...(process.execArgv.some((flag) => flag.startsWith('--input-type')) && { execArgv: [] }),
  });
  worker.on('message', hear);
  worker.unref();
  let reason: string | undefined;
  worker.once('error', (error: Error & { readonly code?: string }) => {
    if (error.code === 'ERR_WORKER_OUT_OF_MEMORY')
      reason = `took more than ${memoryBytes ?? 'there is'} bytes of memory`;
    else reason = `ended by an error that nobody caught: ${error.message}`;
  });
  const ended = new Promise<string>((resolve) => {
    worker.once('exit', (code) => resolve(reason ?? `ended with exit code ${code}`));
  });
  return { send: (message) => worker.postMessage(message), kill: () => void worker.terminate(), ended };
}

/** The flags of this process without those that belong to its own script, or of which there can be only one. */
function flagsForChild(flags: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i] as string;
    if (/^(-e|-p|-pe|--eval|--print)$/.test(flag)) i += 1;
    else if (!/^--(input-type|inspect|eval|print)/.test(flag)) kept.push(flag);
  }
  return kept;
}
