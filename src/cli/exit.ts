/** Exit codes of `holdfast`, documented in its help. */
export const EXIT = {
  done: 0,
  /** The operation failed; the reason is on standard error. */
  failed: 1,
  /** The command line makes no sense; nothing was done. */
  usage: 2,
} as const;
