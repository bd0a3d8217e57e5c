/** Waiting at a queue: for a job, or for events, without asking again and again. */
import type { Client } from '../../client/client.ts';
import type { CancelTimer } from '../../model/clock.ts';

/** What a wait asks, and takes back. */
export interface Asking {
  /** Asks; `undefined` when the notice is to be waited for. */
  ask(waiter: number): Promise<number | undefined>;
  /** Nobody waits any more. */
  takeBack(waiter: number): Promise<unknown>;
}

/** One wait after the other, each under the same number. */
export class Waiting {
  #end: () => void = () => {};

  /** What is said, or `undefined` when nothing was within the time, or the wait was ended. */
  wait(client: Client, timeoutMs: number, asking: Asking): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      let cancel: CancelTimer = () => {};
      const finish = (said: number | undefined): void => {
        if (isOver) return;
        isOver = true;
        cancel();
        stop();
        this.#end = () => {};
        if (client.failure === undefined) return resolve(said);
        reject(client.failure);
      };
      const { waiter, stop } = client.waits.bullWaiter(finish);
      const end = (): void => {
        // What was said meanwhile, others hear in its place.
        asking.takeBack(waiter).catch(() => {});
        finish(undefined);
      };
      this.#end = end;
      cancel = client.clock.timer(Math.max(timeoutMs, 1), () => {
        asking.takeBack(waiter).then(() => finish(undefined), reject);
      });
      asking.ask(waiter).then(
        (said) => {
          if (said !== undefined) finish(said);
        },
        (error: unknown) => {
          finish(undefined);
          reject(error as Error);
        },
      );
    });
  }

  /** Ends the wait that is under way. */
  end(): void {
    this.#end();
  }
}
