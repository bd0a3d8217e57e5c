/**
 * Histograms of times: how many things took how long, in buckets that are the same everywhere, so that two histograms are
 * merged by adding their counts.
 *
 * | bucket | times, in milliseconds |
 * |---|---|
 * | 0 | less than 1 |
 * | i, from 1 to 106 | from 2^((i - 1) / 4) to less than 2^(i / 4) |
 * | 107 | from 2^26.5, 26.3 hours |
 *
 * A bucket ends 18.9 % above its beginning, so its geometric middle is within 9.1 % of every time in it.
 */

/** Plain data; {@link mergeHistograms}, {@link percentileMs} and {@link meanMs} read it. */
export interface Histogram {
  /** The bucket that the first count is of. */
  readonly first: number;
  /** How many times fell into this bucket and each of those that follow. */
  readonly counts: readonly number[];
  /** All times together, in milliseconds. */
  readonly sumMs: number;
}

/** A histogram that is still being filled. */
export type OpenHistogram = { -readonly [K in keyof Histogram]: Histogram[K] } & { readonly counts: number[] };

/** How many buckets there are. */
export const HISTOGRAM_BUCKETS = 108;

const LAST = HISTOGRAM_BUCKETS - 1;
const BUCKETS_AN_OCTAVE = 4;

/** Where the buckets of an octave begin. */
const QUARTERS = [1, 2 ** 0.25, 2 ** 0.5, 2 ** 0.75] as const;

/** What the last bucket begins with. */
const LONGEST_MS: number = beginningOf(LAST);

export function createHistogram(): OpenHistogram {
  return { first: 0, counts: [], sumMs: 0 };
}

/** The bucket of a time. Computed without a logarithm, whose last digit depends on the engine. */
export function bucketOf(ms: number): number {
  if (!(ms >= 1)) return 0;
  if (ms >= LONGEST_MS) return LAST;
  const octave = 31 - Math.clz32(ms);
  const place = ms / (1 << octave);
  const quarter = place < QUARTERS[2] ? (place < QUARTERS[1] ? 0 : 1) : place < QUARTERS[3] ? 2 : 3;
  return 1 + octave * BUCKETS_AN_OCTAVE + quarter;
}

/** The times of a bucket: from `fromMs` to less than `toMs`. */
export function bucketBounds(bucket: number): { readonly fromMs: number; readonly toMs: number } {
  return {
    fromMs: bucket === 0 ? 0 : beginningOf(bucket),
    toMs: bucket === LAST ? Infinity : beginningOf(bucket + 1),
  };
}

function beginningOf(bucket: number): number {
  const octave = Math.floor((bucket - 1) / BUCKETS_AN_OCTAVE);
  return 2 ** octave * (QUARTERS[(bucket - 1) % BUCKETS_AN_OCTAVE] as number);
}

/** Adds a time; one below zero counts as zero. */
export function addTime(histogram: OpenHistogram, ms: number): void {
  const time = Math.max(0, ms);
  addCount(histogram, bucketOf(time), 1);
  histogram.sumMs += time;
}

/** Adds all of one histogram to another. */
export function addHistogram(histogram: OpenHistogram, { first, counts, sumMs }: Histogram): void {
  counts.forEach((count, i) => {
    if (count > 0) addCount(histogram, first + i, count);
  });
  histogram.sumMs += sumMs;
}

/** What several histograms have counted together. */
export function mergeHistograms(...histograms: readonly Histogram[]): Histogram {
  const merged = createHistogram();
  for (const histogram of histograms) addHistogram(merged, histogram);
  return merged;
}

/** How many times were counted. */
export function countOf({ counts }: Histogram): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/** The mean, exactly; `undefined` when nothing was counted. */
export function meanMs(histogram: Histogram): number | undefined {
  const count = countOf(histogram);
  return count === 0 ? undefined : histogram.sumMs / count;
}

/**
 * The time that so many percent of all do not exceed, to within 9.1 %; `undefined` when nothing was counted. Of times below
 * 1 ms it gives 0.5, of those in the last bucket its beginning.
 *
 * @param percent from 0 to 100
 */
export function percentileMs(histogram: Histogram, percent: number): number | undefined {
  const count = countOf(histogram);
  if (count === 0) return undefined;
  let left = Math.max(1, Math.ceil((count * percent) / 100));
  const at = histogram.counts.findIndex((each) => (left -= each) <= 0);
  return middleMs(histogram.first + at);
}

function middleMs(bucket: number): number {
  if (bucket === 0) return 0.5;
  const { fromMs, toMs } = bucketBounds(bucket);
  return toMs === Infinity ? fromMs : Math.sqrt(fromMs * toMs);
}

/** Keeps only the stretch of buckets that have something. */
function addCount(histogram: OpenHistogram, bucket: number, count: number): void {
  const { counts } = histogram;
  const known = counts[bucket - histogram.first];
  if (known !== undefined) {
    counts[bucket - histogram.first] = known + count;
    return;
  }
  if (counts.length === 0) histogram.first = bucket;
  for (; bucket < histogram.first; histogram.first -= 1) counts.unshift(0);
  const at = bucket - histogram.first;
  while (counts.length <= at) counts.push(0);
  counts[at] = (counts[at] as number) + count;
}
