/** What a benchmark is made of: groups of cases, and what a case measures. */

/** One figure, or several, of one run of a case. Fields that do not apply are left out. */
export interface Measurement {
  readonly messages: number;
  readonly perSecond?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly worstMs?: number;
  /** From the kill of the leader to the next acknowledged produce. */
  readonly acknowledgedMs?: number;
  /** From the kill of the leader to the first delivery. */
  readonly deliveredMs?: number;
  /** Resident memory of the whole process, all its threads included, when the measured part was over; of the broker's if that has its own. */
  readonly rssBytes?: number;
  /** How much of it came with what the case is about. */
  readonly addedBytes?: number;
  readonly openMs?: number;
  /** User and system time of the process, and of the broker's if that has its own, all threads included. */
  readonly cpuMicrosPerMessage?: number;
  /**
   * The share of the processors' time that went to other virtual machines of the same host meanwhile, where the system
   * tells. More than a few percent make the figures those of the neighbours.
   */
  readonly stolenPercent?: number;
}

/** What the disk alone can do with the same bytes, or the connection with the same frames: messages a second, or how long one takes. */
export interface Limit {
  readonly name: string;
  readonly perSecond?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

/**
 * A case. Each function runs in a process of its own, one after the other on the same folder, so that the memory and
 * the garbage of one do not touch the figures of the next.
 */
export interface Case {
  readonly name: string;
  /** Fills the folder. */
  readonly prepare?: (folder: string) => Promise<void>;
  /** The prepared folder serves all runs, because a run leaves it as it was. @default false */
  readonly preparedOnce?: boolean;
  readonly run: (folder: string) => Promise<Measurement>;
  /** The first is the limit of the case; the others are shown beside it. */
  readonly limits?: readonly ((folder: string) => Promise<Limit>)[];
}

/** Cases that are run and shown together. */
export interface Group {
  readonly name: string;
  /** Whether a run that names no group leaves this one out. */
  readonly onlyByName?: boolean;
  readonly cases: readonly Case[];
}

/** A case as it is reported: the run in the middle, and its limits. */
export interface CaseReport extends Measurement {
  readonly group: string;
  readonly name: string;
  readonly limit?: Limit;
  readonly otherLimits?: readonly Limit[];
}
