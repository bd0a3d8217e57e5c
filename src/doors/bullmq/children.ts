/** The children of a job, as BullMQ shows them. */
import type { DependenciesOpts, JobJson } from 'bullmq';
import type { BullAnswer, BullArgs, BullChildren } from '../../model/bull.ts';
import { jobOf } from './jobs.ts';

type Ask = (args: Omit<BullArgs<'children'>, 'id'>) => Promise<BullAnswer<'children'>>;

interface Dependencies {
  processed?: Record<string, unknown>;
  nextProcessedCursor?: number;
  unprocessed?: string[];
  nextUnprocessedCursor?: number;
  ignored?: Record<string, unknown>;
  nextIgnoredCursor?: number;
  failed?: string[];
  nextFailedCursor?: number;
}

const ALL = 100_000;
const PAGE = 20;

const KINDS = ['processed', 'unprocessed', 'ignored', 'failed'] as const satisfies readonly BullChildren[];

/** All children, or pages of those kinds for which one is asked; a cursor is a rank, and 0 behind the last page. */
export async function dependenciesOf(ask: Ask, opts: DependenciesOpts): Promise<Dependencies> {
  const found: Dependencies = {};
  const paged = KINDS.filter((kind) => opts[kind] !== undefined);
  const kinds = paged.length === 0 ? KINDS : paged;
  const pages = await Promise.all(
    kinds.map((of) => {
      const page = opts[of];
      if (page === undefined) return allChildren(ask, of).then((items) => ({ items, total: items.length }));
      const { cursor: start = 0, count: limit = PAGE } = page;
      return ask({ of, start, limit, jobs: false });
    }),
  );
  pages.forEach(({ items, total }, i) => {
    const kind = kinds[i] as BullChildren;
    const { cursor: start = 0 } = opts[kind] ?? {};
    const next = start + items.length < total ? start + items.length : 0;
    if (kind === 'processed')
      found.processed = Object.fromEntries(items.map(([key, value]) => [key, JSON.parse(value)]));
    else if (kind === 'ignored') found.ignored = paged.length > 0 ? Object.fromEntries(items) : jsonOf(items);
    else found[kind] = items.map(([key]) => key);
    if (paged.length > 0) found[CURSORS[kind]] = next;
  });
  return found;
}

/** All children of a kind, page by page. */
export async function allChildren(ask: Ask, of: BullChildren): Promise<(readonly [string, string])[]> {
  const all: (readonly [string, string])[] = [];
  for (;;) {
    const { items, total } = await ask({ of, start: all.length, limit: ALL, jobs: false });
    all.push(...items);
    if (items.length === 0 || all.length >= total) return all;
  }
}

const CURSORS = {
  processed: 'nextProcessedCursor',
  unprocessed: 'nextUnprocessedCursor',
  ignored: 'nextIgnoredCursor',
  failed: 'nextFailedCursor',
} as const;

/** Reasons that are JSON are shown as what they say, as BullMQ does where it shows all children. */
function jsonOf(items: BullAnswer<'children'>['items']): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [key, value] of items) values[key] = parse(value);
  return values;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A page of children with their values. */
export function pageOf(
  { items, total, jobs }: BullAnswer<'children'>,
  of: BullChildren,
): { cursor: string; items: { id: string; v?: unknown; err?: string }[]; total: number; jobs: JobJson[] } {
  const shown = items.map(([id, value]) => (of === 'unprocessed' ? { id } : { id, ...valueOf(value) }));
  return { cursor: '0', items: shown, total, jobs: jobs.map(jobOf) };
}

function valueOf(text: string): { v: unknown } | { err: string } {
  try {
    return { v: JSON.parse(text) as unknown };
  } catch (error) {
    return { err: (error as Error).message };
  }
}
