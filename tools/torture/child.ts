/** The process under torture, as its parent sees it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { LoadEvent, LoadOrder } from './load.ts';

export interface Child {
  readonly process: ChildProcess;
  /** Resolves when the child has told this. Rejects when it ends before. */
  until(kind: LoadEvent['kind']): Promise<void>;
  /** What it wrote to its standard error, at last. */
  readonly complaints: () => string;
  /** Resolves when the child has ended and everything that it told was heard. */
  readonly gone: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** So many characters of what the child complained of are kept. */
const MAX_COMPLAINTS = 4_096;

export function startChild(order: LoadOrder, hear: (event: LoadEvent) => void): Child {
  const program = fileURLToPath(new URL('./load.js', import.meta.url));
  const child = spawn(process.execPath, [program, JSON.stringify(order)], {
    // The child ends when its standard input does, whatever has become of its parent.
    stdio: ['pipe', 'inherit', 'pipe', 'pipe'],
    // Out of reach of a Ctrl+C: who started it ends it.
    detached: true,
  });
  // A dying file system makes the store's library complain; that is of interest only when nothing struck.
  let complaints = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaints = (complaints + text).slice(-MAX_COMPLAINTS);
  });
  const told = new Set<LoadEvent['kind']>();
  const waiting = new Map<LoadEvent['kind'], () => void>();
  const lines = createInterface({ input: child.stdio[3] as Readable });
  lines.on('line', (line) => {
    const event = parseEvent(line);
    if (event === undefined) return;
    hear(event);
    told.add(event.kind);
    waiting.get(event.kind)?.();
  });
  const heard = new Promise<void>((resolve) => lines.once('close', resolve));
  const exited = new Promise<Awaited<Child['gone']>>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const gone = exited.then(async (end) => {
    await heard;
    return end;
  });
  return {
    process: child,
    complaints: () => complaints,
    gone,
    async until(kind) {
      if (told.has(kind)) return;
      const early = gone.then(({ code, signal }) => {
        if (told.has(kind)) return;
        const end = signal ?? `exit code ${code}`;
        throw new Error(`The process under torture ended by itself before it was "${kind}" (${end})\n${complaints}`);
      });
      await Promise.race([new Promise<void>((resolve) => waiting.set(kind, resolve)), early]);
    },
  };
}

/** The last line may be cut by the kill. */
function parseEvent(line: string): LoadEvent | undefined {
  try {
    return JSON.parse(line) as LoadEvent;
  } catch {
    return undefined;
  }
}
