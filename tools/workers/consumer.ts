/** What the measured worker processes run: says when its handler starts, and holds the message until it is killed. */
import { open } from 'holdfast';

/** A line of a worker process. */
export interface Started {
  readonly started: string;
  readonly process: number;
  /** Epoch milliseconds, finer than the calendar's. */
  readonly at: number;
}

export interface Task {
  readonly name: string;
  /** The first to get it holds it until its process is killed. */
  readonly holds: boolean;
}

const hf = await open();
await hf.channel<Task>('tasks').consume(async ({ name, holds }, { redelivered }) => {
  const line: Started = { started: name, process: process.pid, at: performance.timeOrigin + performance.now() };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  if (holds && !redelivered) await new Promise(() => {});
});
process.stdout.write(`${JSON.stringify({ consuming: process.pid })}\n`);
