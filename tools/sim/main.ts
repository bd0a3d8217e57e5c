/** Runs the deterministic simulation: `npm run sim -- --seeds 500`, or one seed again with `--seed 17 --verbose`. */
import { MARKS, simulate, type SimResult } from '#holdfast/testing/sim/index.js';

const USAGE = `npm run sim -- [--seeds N] [--from S] [--seed X] [--verbose]
  --seeds N   how many seeds to run (default 100)
  --from S    the first of them (default 1)
  --seed X    only this one, with the end of its trace
  --verbose   every line of the trace`;

interface Arguments {
  readonly from: number;
  readonly seeds: number;
  readonly verbose: boolean;
  readonly single: boolean;
}

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const given = readArguments(args);
  if (given === undefined) {
    console.error(USAGE);
    return 2;
  }
  const results: SimResult[] = [];
  const startedAt = performance.now();
  const print = given.verbose ? (line: string): void => console.log(line) : undefined;
  for (let seed = given.from; seed < given.from + given.seeds; seed++) {
    const result = await simulate({ seed, print });
    results.push(result);
    if (result.violations.length > 0) report(result, !given.verbose);
    else if (given.single) console.log(`Seed ${seed} holds; its trace hash is ${result.hash}`);
    if (results.length % 100 === 0) console.log(`${results.length} of ${given.seeds} seeds`);
  }
  const failed = summarize(results, (performance.now() - startedAt) / 1_000);
  return failed === 0 ? 0 : 1;
}

function report({ seed, violations, tail, hash }: SimResult, withTail: boolean): void {
  console.log(`\nSeed ${seed} (trace ${hash}) breaks ${violations.length}:`);
  for (const { id, says, found, at } of violations) console.log(`  ${id} at ${at} ms: ${found}\n     ${says}`);
  if (withTail) for (const line of tail) console.log(`    ${line}`);
}

/** Prints what all seeds together have done, and gives the number of seeds that failed. */
function summarize(results: readonly SimResult[], seconds: number): number {
  const sum = (of: (result: SimResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  const hours = (ms: number): string => (ms / 3_600_000).toFixed(1);
  const failed = results.filter(({ violations }) => violations.length > 0);
  const busyMs = sum(({ busyMs: ms }) => ms);
  const totalMs = sum(({ totalMs: ms }) => ms);
  console.log(
    `\n${results.length} seeds in ${seconds.toFixed(1)} s: ${hours(busyMs)} simulated hours of work, ${hours(totalMs)} in all`,
  );
  console.log(
    `${sum(({ events }) => events)} events, ${sum(({ messages }) => messages)} messages, ${sum(({ faults }) => faults)} faults`,
  );
  const reached = MARKS.map((mark) => [mark, sum(({ marks }) => marks.get(mark) ?? 0)] as const);
  for (const [mark, count] of reached) console.log(`  ${String(count).padStart(8)}  ${mark}`);
  const missed = reached.filter(([, count]) => count === 0).length;
  console.log(`Marks reached: ${MARKS.length - missed} of ${MARKS.length}`);
  console.log(
    `Violations: ${failed.length}${failed.length > 0 ? ` (seeds ${failed.map(({ seed }) => seed).join(', ')})` : ''}`,
  );
  return failed.length;
}

function readArguments(args: readonly string[]): Arguments | undefined {
  let from = 1;
  let seeds = 100;
  let verbose = false;
  let single = false;
  for (let i = 0; i < args.length; i++) {
    const name = args[i];
    if (name === '--verbose') {
      verbose = true;
      continue;
    }
    const value = Number(args[++i]);
    if (!Number.isSafeInteger(value) || value < 0) return undefined;
    if (name === '--seeds') seeds = value;
    else if (name === '--from') from = value;
    else if (name === '--seed') {
      from = value;
      seeds = 1;
      single = true;
    } else return undefined;
  }
  return { from, seeds, verbose, single };
}
