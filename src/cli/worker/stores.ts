/** The stores that the supervisor has open itself. */
import type { Holdfast } from '../../api/holdfast.ts';
import { type LogLine, open } from '../../open.ts';

export class Stores {
  readonly #log: (line: LogLine) => void;
  readonly #open = new Map<string, Promise<Holdfast>>();

  constructor(log: (line: LogLine) => void) {
    this.#log = log;
  }

  /** Opens a store, or gives the instance that it has. @throws as `open` */
  hold(url: string, space: string): Promise<Holdfast> {
    const key = `${url}\0${space}`;
    let held = this.#open.get(key);
    if (held === undefined) {
      // A server decides about the space itself.
      held = open(url, { log: this.#log, ...(url.startsWith('file:') && { space }) });
      this.#open.set(key, held);
      held.catch(() => this.#open.delete(key));
    }
    return held;
  }

  async close(): Promise<void> {
    for (const held of this.#open.values()) await (await held.catch(() => undefined))?.close();
  }
}
