/** `npm run fuzz`: random and mutated frames against a real server, and a look at whether anybody else notices. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCommandLine, USAGE_EXIT_CODE, UsageError, wholeNumber } from '../command-line.ts';
import { abortWhenInterrupted, exitInterrupted, Interrupted } from '../interruption.ts';
import { type CampaignResult, type Progress, runCampaign } from './campaign.ts';

const HELP = `Usage: npm run fuzz -- [--frames N] [--seed S] [--json]

A server of its own gets random and mutated frames and streams of bytes, over a Unix socket, TCP and WebSockets, before and
after HELLO. Meanwhile a client that behaves produces and consumes. It fails when the server ends, logs an error, leaves a
connection open or takes more and more memory, and when the client loses a message, gets one twice, or waits for too long.

  --frames N   how many frames to send (default 100000)
  --seed S     decides what is sent; ids of messages and what the server answers differ from run to run
  --json       prints one JSON object as the last line

Needs Linux: the memory of the server is read from /proc.`;

interface FuzzRequest {
  readonly frames: number;
  readonly seed: number;
  readonly json: boolean;
}

const FRAMES = 100_000;
const MIN_FRAMES = 1_000;
const MAX_FRAMES = 1_000_000_000;
const MAX_SEED: number = 2 ** 32 - 1;

const MIB: number = 1024 * 1024;

/** By so much the server's memory may grow behind the warm-up: its heap breathes. */
const MAX_GROWTH_BYTES: number = 64 * MIB;

/** So long a message of the canary may take at most. */
const MAX_LATENCY_MS = 5_000;

/** How many complaints of one kind are shown. */
const SHOWN = 5;

process.stdout.on('error', () => {});

const interruption = abortWhenInterrupted();
try {
  const request = readRequest(process.argv.slice(2));
  if (request === undefined) console.log(HELP);
  else process.exitCode = await fuzz(request);
} catch (error) {
  if (error instanceof Interrupted) exitInterrupted(error);
  process.exitCode = error instanceof UsageError ? USAGE_EXIT_CODE : 1;
  console.error(error instanceof UsageError ? error.message : error);
}

async function fuzz({ frames, seed, json }: FuzzRequest): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-fuzz-'));
  const startedAt = performance.now();
  const seconds = (): number => Number(((performance.now() - startedAt) / 1_000).toFixed(1));
  console.log(`${frames} frames, seed ${seed}`);
  const onProgress = (progress: Progress): void => showProgress(progress, frames, seconds());
  try {
    const result = await runCampaign({ frames, seed, folder, abort: interruption, onProgress });
    const violations = violationsOf(result);
    showSummary(result, seconds());
    for (const violation of violations) console.log(`  ${violation}`);
    if (json) console.log(JSON.stringify({ seed, ...result, codes: Object.fromEntries(result.codes), violations }));
    return violations.length === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function violationsOf({ memory, endings, canary, complaints, exit }: CampaignResult): string[] {
  const growth = Math.max(memory.end.rssBytes - memory.warm.rssBytes, memory.end.ownBytes - memory.warm.ownBytes);
  const { latencyMs } = canary;
  return [
    ...complaints.slice(0, SHOWN).map((line) => `The server complained: ${line}`),
    ...canary.complaints.slice(0, SHOWN).map((line) => `The canary complained: ${line}`),
    ...(exit === 0 ? [] : [`The server ended with ${exit}`]),
    ...(endings.stuck === 0 ? [] : [`${endings.stuck} connections got no answer, or were left open`]),
    ...(growth <= MAX_GROWTH_BYTES ? [] : [`The server's memory grew by ${mib(growth)}`]),
    ...(canary.lost === 0 ? [] : [`The canary lost ${canary.lost} messages`]),
    ...(canary.doubled === 0 ? [] : [`The canary got ${canary.doubled} messages twice`]),
    ...(latencyMs.max <= MAX_LATENCY_MS ? [] : [`A message of the canary took ${ms(latencyMs.max)}`]),
  ];
}

function showProgress({ frames, connections, memory }: Progress, of: number, seconds: number): void {
  const width = String(of).length;
  console.log(
    `  ${String(frames).padStart(width)} of ${of}   ${connections} connections, ${mib(memory.rssBytes)}, ${seconds} s`,
  );
}

function showSummary(result: CampaignResult, seconds: number): void {
  const { sent, connections, endings, memory, canary } = result;
  const { p50, p99, max } = canary.latencyMs;
  const codes = [...result.codes].map(([code, count]) => `${code} ${count}`).join(', ');
  const rows: (readonly [string, string | number])[] = [
    ['frames', sent.formed + sent.mutated + sent.raw],
    ['  well-formed', sent.formed],
    ['  mutated, sealed', sent.mutated],
    ['  spoiled as bytes', sent.raw],
    ['  before WELCOME', sent.early],
    ['connections', `unix ${connections.unix}, tcp ${connections.tcp}, websocket ${connections.websocket}`],
    ['  welcomed', result.welcomed],
    ['  refused with a reason', `${endings.refused} (${codes})`],
    ['  closed without a word', endings.dropped],
    ['  closed after the client', endings.ended],
    ['  cut by the client', endings.cut],
    ['  stuck', endings.stuck],
    ['deliveries', result.deliveries],
    ['memory after warm-up', shown(memory.warm)],
    ['memory at the end', `${shown(memory.end)}; at most ${mib(memory.most.rssBytes)}`],
    [
      'server',
      `exit ${result.exit}, ${result.complaints.length} complaints, ${result.warnings} connections turned away`,
    ],
    ['canary', `${canary.produced} produced, ${canary.lost} lost, ${canary.doubled} doubled`],
    ['  latency', `p50 ${ms(p50)}, p99 ${ms(p99)}, at most ${ms(max)}`],
    ['seconds', seconds],
  ];
  console.log('');
  for (const [label, value] of rows) console.log(`  ${label.padEnd(26)}${value}`);
  console.log('');
}

function shown({ rssBytes, ownBytes }: CampaignResult['memory']['end']): string {
  return `${mib(rssBytes)}, ${mib(ownBytes)} of it not of files`;
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}

function readRequest(args: readonly string[]): FuzzRequest | undefined {
  const line = parseCommandLine(args, { words: 0, values: ['frames', 'seed'], flags: ['json', 'help'] });
  if (line.flags.has('help')) return undefined;
  return {
    frames: wholeNumber(line, 'frames', MIN_FRAMES, MAX_FRAMES) ?? FRAMES,
    seed: wholeNumber(line, 'seed', 0, MAX_SEED) ?? Math.floor(Math.random() * MAX_SEED),
    json: line.flags.has('json'),
  };
}
