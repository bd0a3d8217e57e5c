/** The figures as a table for people. */
import type { CaseReport } from './case.ts';
import type { MachineReport } from './machine.ts';

const format = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const whole = (value: number): string => format.format(value);

type Column = readonly [heading: string, cell: (report: CaseReport) => string];

const COLUMNS: readonly Column[] = [
  ['case', ({ name }) => name],
  ['messages', ({ messages }) => (messages > 0 ? whole(messages) : '')],
  ['a second', ({ perSecond }) => optional(perSecond, whole)],
  ['of limit', ({ perSecond, limit }) => (perSecond && limit?.perSecond ? share(perSecond, limit.perSecond) : '')],
  ['p50 ms', ({ p50Ms }) => optional(p50Ms, fixed(2))],
  ['p99 ms', ({ p99Ms }) => optional(p99Ms, fixed(2))],
  ['worst ms', ({ worstMs }) => optional(worstMs, fixed(2))],
  ['produce ms', ({ acknowledgedMs }) => optional(acknowledgedMs, whole)],
  ['delivery ms', ({ deliveredMs }) => optional(deliveredMs, whole)],
  ['open ms', ({ openMs }) => optional(openMs, whole)],
  ['memory MB', ({ rssBytes }) => optional(rssBytes, (bytes) => whole(bytes / 1e6))],
  ['added MB', ({ addedBytes }) => optional(addedBytes, (bytes) => (bytes / 1e6).toFixed(1))],
  ['stolen', ({ stolenPercent }) => optional(stolenPercent, (percent) => `${percent.toFixed(0)} %`)],
  ['CPU us each', ({ cpuMicrosPerMessage }) => optional(cpuMicrosPerMessage, fixed(1))],
];

export function formatTables(machine: MachineReport, reports: readonly CaseReport[]): string {
  const { cpu, cores, memoryBytes, platform, node, fileSystem } = machine;
  const memory = `${whole(memoryBytes / 2 ** 30)} GiB`;
  const groups = [...new Set(reports.map(({ group }) => group))];
  return [
    `${cpu}, ${cores} cores, ${memory}, ${fileSystem}, ${platform}, Node ${node}`,
    ...groups.flatMap((group) =>
      formatGroup(
        group,
        reports.filter((report) => report.group === group),
      ),
    ),
  ].join('\n');
}

function formatGroup(group: string, reports: readonly CaseReport[]): string[] {
  const columns = COLUMNS.filter(([, cell]) => reports.some((report) => cell(report) !== ''));
  const rows = [
    columns.map(([heading]) => heading),
    ...reports.map((report) => columns.map(([, cell]) => cell(report))),
  ];
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const lines = rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  );
  return ['', group, ...lines, '', ...reports.flatMap(limitLines)];
}

function limitLines({ name, perSecond, limit, otherLimits = [] }: CaseReport): string[] {
  if (limit === undefined) return [];
  return [limit, ...otherLimits].map((one) => {
    const what = `limit of ${name}: ${one.name}`;
    if (one.perSecond === undefined) return `${what}, p50 ${one.p50Ms?.toFixed(2)} ms, p99 ${one.p99Ms?.toFixed(2)} ms`;
    const reached = perSecond === undefined ? '' : `, ${share(perSecond, one.perSecond)} reached`;
    return `${what}, ${whole(one.perSecond)} a second${reached}`;
  });
}

function share(part: number, whole: number): string {
  return `${((part / whole) * 100).toFixed(0)} %`;
}

function fixed(digits: number): (value: number) => string {
  return (value) => value.toFixed(digits);
}

function optional(value: number | undefined, show: (value: number) => string): string {
  return value === undefined ? '' : show(value);
}
