/**
 * Produce times: when a message was produced, by its sequence number, for messages that keep no time of their own. Memory holds
 * the times of some numbers, the closer together the younger they are, so it stays small whatever waits.
 */

/** Sequence numbers that were given out, in order. */
export interface ProduceTimes {
  seqs: number[];
  /** When the number was given out, in machine time, */
  ats: number[];
  /** and when the last one that counts as given out then. */
  lasts: number[];
}

/** Beyond so many, those are removed without which no message counts as older than it is by more than this share of its age. */
const MOST = 4_096;
const PRECISION = 0.02;

export function createProduceTimes(): ProduceTimes {
  return { seqs: [], ats: [], lasts: [] };
}

/** A message with this number, higher than all before, is produced now. */
export function noteProduced(times: ProduceTimes, seq: number, now: number): void {
  const { seqs, ats, lasts } = times;
  if (ats[ats.length - 1] === now) return;
  seqs.push(seq);
  ats.push(now);
  lasts.push(now);
  if (ats.length > MOST) thin(times, now);
}

/** When the message with this number was produced; `undefined` for one that is older than all that is known. */
export function producedAt({ seqs, ats }: ProduceTimes, seq: number): number | undefined {
  // Where nothing waits, it is one of the newest.
  if ((seqs[seqs.length - 1] ?? Infinity) <= seq) return ats[ats.length - 1];
  let low = 0;
  let high = seqs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((seqs[middle] as number) <= seq) low = middle + 1;
    else high = middle;
  }
  return ats[low - 1];
}

function thin(times: ProduceTimes, now: number): void {
  const { seqs, ats, lasts } = times;
  let kept = 0;
  for (let i = 1; i < ats.length; i++) {
    const last = lasts[i] as number;
    if (last - (ats[kept] as number) > (now - last) * PRECISION) {
      kept += 1;
      seqs[kept] = seqs[i] as number;
      ats[kept] = ats[i] as number;
    }
    lasts[kept] = last;
  }
  for (const list of [seqs, ats, lasts]) list.length = kept + 1;
}
