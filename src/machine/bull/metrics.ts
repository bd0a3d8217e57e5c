/** Counts of finished jobs by the minute of the caller's clock. */
import type { BullFinishedState, BullMetricsView } from '../../model/bull.ts';
import type { MachineState } from '../state.ts';
import type { BullQueue } from './memory.ts';
import { setCell, touchHead } from './queues.ts';
import { encodePoints, PART, queuePartKey } from './records.ts';
import { slice } from './ranks.ts';

const MINUTE_MS = 60_000;

export function countFinished(
  state: MachineState,
  queue: BullQueue,
  of: BullFinishedState,
  mostPoints: number,
  now: number,
): void {
  const metrics = queue.metrics[of];
  const before = metrics.count++;
  touchHead(state, queue);
  if (metrics.prevAt === undefined) {
    metrics.prevAt = now;
    metrics.prevCount = 0;
    return;
  }
  const minutes = Math.min(Math.floor(now / MINUTE_MS) - Math.floor(metrics.prevAt / MINUTE_MS), mostPoints);
  if (minutes <= 0) return;
  // The minute that has ended comes behind those in which nothing happened.
  const points = Array.from({ length: minutes }, () => 0);
  points[minutes - 1] = before - metrics.prevCount;
  metrics.points = [...points, ...metrics.points].slice(0, mostPoints);
  metrics.prevAt = now;
  metrics.prevCount = before;
  setCell(state, queuePartKey(state, queue, PART.points, of === 'completed' ? 0 : 1), encodePoints(metrics));
}

export function metricsView(queue: BullQueue, of: BullFinishedState, start: number, end: number): BullMetricsView {
  const { count, prevAt = 0, prevCount, points } = queue.metrics[of];
  return { count, prevAt, prevCount, points: slice(points, start, end), length: points.length };
}
