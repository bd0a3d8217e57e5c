/** The broker in a process of its own, as the process that measures sees it. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Transport } from './flow/flow.ts';

export interface BrokerProcess {
  /** What a client opens to reach it. */
  readonly url: string;
  readonly process: ChildProcess;
  /** What the process has used so far, and the memory that it has now. */
  usage(): Promise<Usage>;
  close(): Promise<void>;
}

/** What a process tells of itself, its threads included. */
export interface Usage {
  readonly cpuMicros: number;
  readonly rssBytes: number;
}

/** What the broker's process says first. */
export interface BrokerReady {
  readonly url: string;
}

const PROGRAM = fileURLToPath(new URL('./broker.js', import.meta.url));

/** Starts a broker on this folder, and resolves when it can be reached. */
export async function startBrokerProcess(folder: string, transport: Transport): Promise<BrokerProcess> {
  const child = fork(PROGRAM, [folder, transport], { stdio: ['ignore', 2, 2, 'ipc'] });
  const ended = once(child, 'exit');
  const [{ url }] = (await Promise.race([
    once(child, 'message'),
    ended.then(([code]) => Promise.reject(new Error(`Cannot measure: the broker's process ended with ${code}`))),
  ])) as [BrokerReady];
  return {
    url,
    process: child,
    async usage() {
      const answer = once(child, 'message');
      child.send('usage');
      return ((await answer) as [Usage])[0];
    },
    async close() {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}
