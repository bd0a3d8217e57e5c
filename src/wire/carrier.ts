/** A carrier: what brings whole frames from one end of a network connection to the other. */

export interface Carrier {
  /** Sends a frame. Does nothing once closed. */
  send(frame: Uint8Array): void;
  /** Bytes that were sent and that the network has not taken yet. */
  readonly bufferedBytes: number;
  /** How many bytes the network has taken so far: as long as they grow, the other side reads, however slowly. */
  readonly takenBytes: number;
  /** A longer frame is refused from the length that it announces, before anything is allocated for it. */
  maxFrameBytes: number;
  /** Sets the receivers; called once, before anything is received. */
  start(receivers: CarrierReceivers): void;
  /** Stops reading from the network, or goes on. */
  flow(open: boolean): void;
  /** Closes behind what was sent. */
  end(): void;
  /** Closes at once. */
  destroy(): void;
}

export interface CarrierReceivers {
  /** The frame is the receiver's own. */
  readonly frame: (bytes: Uint8Array<ArrayBuffer>) => void;
  /** Something has arrived, be it part of a frame. */
  readonly heard: () => void;
  /** The other side sent what is no frame. */
  readonly broken: (reason: string) => void;
  /** The network has taken all that was sent. */
  readonly drained: () => void;
  /** Called once, with the error of the network if there was one. */
  readonly closed: (cause?: Error) => void;
}
