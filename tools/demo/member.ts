/** A process of the demo, as it sees itself: what it is told, what it says, and how it opens the folder. */
import { type Holdfast, open } from 'holdfast';

export type Role = 'broker' | 'producer' | 'worker';

/** What a process is told when it starts. */
export interface Order {
  readonly role: Role;
  readonly folder: string;
  readonly data: string;
  /** Every file has its message already. */
  readonly isProduced: boolean;
}

/** What a process says. */
export type Report =
  /** It leads the data folder from now on: its broker serves the others. */
  | { readonly kind: 'leads' }
  /** It has the folder open and does its work. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly stored: number; readonly ended: number }
  /** It has used up its steps. */
  | { readonly kind: 'asks' }
  | { readonly kind: 'done' };

/** What a process is told later. */
export type Notice =
  | { readonly kind: 'go'; readonly steps: number }
  | { readonly kind: 'produced' }
  | { readonly kind: 'end' };

/**
 * How long a session outlives its connection. A worker that dies while there is no broker is missed by nobody until its
 * session has timed out: the demo kills both in one breath, and nobody should have to watch the default of 30 seconds.
 */
const SESSION_TIMEOUT = '3s';

export const order = JSON.parse(process.argv[2] as string) as Order;

// Without the one who started this process there is nobody to work for, and nobody to end it.
const abandoned = (): void => process.exit(1);
process.on('disconnect', abandoned);
if (!process.connected) abandoned();

export function openData(): Promise<Holdfast> {
  return open(`file:${order.data}`, {
    sessionTimeout: SESSION_TIMEOUT,
    log: ({ level, message }) => {
      if (message.startsWith('This process leads')) report({ kind: 'leads' });
      else if (level === 'error') console.error(message);
    },
  });
}

export function report(message: Report): void {
  if (process.connected) process.send?.(message);
}

/** Resolves when this is told. */
export function told(kind: Notice['kind']): Promise<void> {
  return new Promise((resolve) => {
    process.on('message', (notice: Notice) => {
      if (notice.kind === kind) resolve();
    });
  });
}

/** Says that the work is done, and lets the process end. */
export function leave(): void {
  report({ kind: 'done' });
  process.off('disconnect', abandoned);
  process.disconnect();
}

/** Passed at each step of the work: asks the supervisor for more when the steps are used up, and waits for them. */
export class Steps {
  #left = 0;
  #isAsking = false;
  readonly #waiting: (() => void)[] = [];

  constructor() {
    process.on('message', (notice: Notice) => {
      if (notice.kind !== 'go') return;
      this.#left += notice.steps;
      this.#isAsking = false;
      while (this.#left > 0 && this.#waiting.length > 0) {
        this.#left -= 1;
        this.#waiting.shift()?.();
      }
      if (this.#waiting.length > 0) this.#ask();
    });
  }

  async take(): Promise<void> {
    if (this.#left > 0) {
      this.#left -= 1;
      return;
    }
    this.#ask();
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #ask(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    report({ kind: 'asks' });
  }
}
