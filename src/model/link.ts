/** A connection between one client and the broker, whatever carries it. */

/**
 * Carries frames both ways, in order, until it closes. What it loses, it loses by closing: a link never
 * drops one frame and delivers a later one. A link may deliver a frame that was sent just before a close, or not.
 */
export interface Link {
  /** Sends a frame. The caller must not touch the bytes afterwards: a link may transfer them. Does nothing once closed. */
  send(frame: Uint8Array<ArrayBuffer>): void;
  /** Sets the receivers; called once, before any frame is delivered. `closed` is called at most once, also after `close()`. */
  open(receivers: LinkReceivers): void;
  /** Closes the link; safe to call twice. */
  close(): void;
  /** Says whether somebody waits for this link, so that it keeps the process alive; a link without such a notion ignores it. */
  hold(waiting: boolean): void;
  /** Holds frames back on the other side, or lets them come again. A link that cannot hold any back ignores it. */
  flow(open: boolean): void;
  /** So much waits to be taken by the other side that nothing should be added before `drained`. */
  readonly isCongested: boolean;
}

/** Who hears what comes over a link. */
export interface LinkReceivers {
  readonly frame: (bytes: Uint8Array) => void;
  /** With what the network said, where it said why. */
  readonly closed: (cause?: Error) => void;
  /** The other side has taken what it was sent: a link that was congested is so no more. */
  readonly drained?: () => void;
}

/** Makes a new link to the broker that leads at present. Rejects when none can be reached. */
export type Connect = () => Promise<Link>;
