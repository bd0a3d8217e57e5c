/** What a supervisor and its worker processes say to each other. */

/** The pipe by which a process whose event loop is blocked hears that it is killed next. */
export const RELEASE_FD = 4;

export interface WorkOrder {
  /** Absolute paths of the modules to load. */
  readonly files: readonly string[];
  /** How long handlers may go on when the process is to end, in milliseconds. */
  readonly graceMs: number;
  /** After how long without a message the process says that it is idle, in milliseconds; `undefined` for never. */
  readonly idleMs: number | undefined;
  /** Above this the process is replaced by a fresh one; `undefined` for no bound. */
  readonly memoryBytes: number | undefined;
  readonly supervisorPid: number;
}

/** A channel that a FILE listens to, and where that is. */
export interface Place {
  readonly url: string;
  readonly space: string;
  readonly channel: string;
}

export type ToWorker = { readonly kind: 'start'; readonly order: WorkOrder } | { readonly kind: 'drain' };

export type FromWorker =
  /** It works: every FILE is loaded, or one of them has begun to listen and keeps its module waiting meanwhile. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'loaded' }
  /** A FILE cannot be loaded. With `isTransient`, that may be otherwise in a while. */
  | { readonly kind: 'failed'; readonly file: string; readonly reason: string; readonly isTransient: boolean }
  /** All channels that it has listened to so far. */
  | { readonly kind: 'listens'; readonly places: readonly Place[] }
  | { readonly kind: 'idle' }
  /** It takes more memory than it may, and ends by itself when its handlers have finished. */
  | { readonly kind: 'full' };
