/** A run of the fuzzer: connections one after the other, some at the same time, and a look at what becomes of the server. */
import { formatAddress } from '#holdfast/wire/address.js';
import { type Holdfast, open } from 'holdfast';
import type { CanaryReport } from './canary.ts';
import { startCanary } from './canary-process.ts';
import { attack, type Ending, type Outcome, type Sent } from './connection.ts';
import { type Dice, diceOf } from './dice.ts';
import { type Memory, type Server, startServer } from './server.ts';
import type { Identity } from './traffic.ts';
import { type Way, WAYS, type WayName } from './ways.ts';

export interface CampaignOptions {
  readonly frames: number;
  readonly seed: number;
  /** Where the server keeps its data and its socket. */
  readonly folder: string;
  readonly abort: AbortSignal;
  readonly onProgress: (result: Progress) => void;
}

export interface Progress {
  readonly frames: number;
  readonly connections: number;
  readonly memory: Memory;
}

export interface CampaignResult {
  readonly sent: Sent;
  readonly connections: Readonly<Record<WayName, number>>;
  readonly welcomed: number;
  readonly deliveries: number;
  readonly endings: Readonly<Record<Ending, number>>;
  /** How often each code was said in GOODBYE. */
  readonly codes: ReadonlyMap<string, number>;
  /** Behind the warm-up, at the end, and the most that was seen. */
  readonly memory: { readonly warm: Memory; readonly end: Memory; readonly most: Memory };
  readonly canary: CanaryReport;
  readonly warnings: number;
  readonly complaints: readonly string[];
  readonly exit: number | string;
}

/** Connections at the same time. */
const AT_ONCE = 32;

/** A session is taken up again this often, most likely while another connection has it. */
const RESUMED = 0.1;
const MOST_SESSIONS = 64;

/** A connection shows a token that is none this often. */
const FALSE_TOKENS = 0.03;

/** What has been produced is taken away each time so many connections have ended. */
const CONNECTIONS_A_CLEANING = 500;

/** Shares of the frames between which the memory counts as that behind the warm-up, and that at the end. */
const WARM = { from: 0.2, to: 0.4 } as const;
const END_FROM = 0.8;

const SAMPLE_MS = 100;

export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const server = await startServer(options.folder);
  try {
    const url = formatAddress(server.unix);
    const canary = await startCanary(url);
    try {
      const attackers = new Attackers(options, server);
      await attackers.run(url);
      const report = await canary.report();
      return { ...attackers.result(), canary: report, ...(await endOf(server)) };
    } finally {
      canary.kill();
    }
  } finally {
    await server.close();
  }
}

async function endOf(server: Server): Promise<Pick<CampaignResult, 'exit' | 'warnings' | 'complaints'>> {
  const exit = await server.close();
  return { exit, warnings: server.warnings, complaints: server.complaints };
}

class Attackers {
  readonly #options: CampaignOptions;
  readonly #server: Server;
  readonly #ways: readonly Way[];
  readonly #sent: Sent = { formed: 0, mutated: 0, raw: 0, early: 0 };
  readonly #connections: Record<WayName, number> = { unix: 0, tcp: 0, websocket: 0 };
  readonly #endings: Record<Ending, number> = { refused: 0, dropped: 0, ended: 0, cut: 0, stuck: 0 };
  readonly #codes = new Map<string, number>();
  readonly #samples: { readonly frames: number; readonly memory: Memory }[] = [];
  readonly #sessions: string[] = [];
  #begun = 0;
  #done = 0;
  #welcomed = 0;
  #deliveries = 0;
  #token = '';

  constructor(options: CampaignOptions, server: Server) {
    this.#options = options;
    this.#server = server;
    this.#ways = WAYS.map((name) => ({ name, address: name === 'unix' ? server.unix : server.tcp }));
  }

  async run(url: string): Promise<void> {
    const keeper = await open(url, { log: () => {} });
    const sampling = setInterval(() => this.#sample(), SAMPLE_MS);
    try {
      // With a token of its own, those that the attackers make and revoke lock nobody out.
      const { token } = await keeper.tokens.create({ label: 'fuzz', scopes: ['server:admin'] });
      this.#token = token;
      await Promise.all(Array.from({ length: AT_ONCE }, () => this.#attackOn(keeper)));
      this.#sample();
    } finally {
      clearInterval(sampling);
      await keeper.close();
    }
  }

  result(): Omit<CampaignResult, 'canary' | 'exit' | 'warnings' | 'complaints'> {
    return {
      sent: this.#sent,
      connections: this.#connections,
      welcomed: this.#welcomed,
      deliveries: this.#deliveries,
      endings: this.#endings,
      codes: this.#codes,
      memory: {
        warm: this.#memory(WARM.from, WARM.to, middle),
        end: this.#memory(END_FROM, Infinity, middle),
        most: this.#memory(0, Infinity, Math.max),
      },
    };
  }

  get #frames(): number {
    return this.#sent.formed + this.#sent.mutated + this.#sent.raw;
  }

  async #attackOn(keeper: Holdfast): Promise<void> {
    const { frames, seed, abort, onProgress } = this.#options;
    while (this.#frames < frames && !this.#server.hasEnded) {
      abort.throwIfAborted();
      const dice = diceOf(seed, this.#begun++);
      const way = dice.pick(this.#ways);
      this.#connections[way.name] += 1;
      this.#add(await attack(way, dice, this.#identity(dice)));
      if (++this.#done % CONNECTIONS_A_CLEANING !== 0) continue;
      await clean(keeper);
      const memory = this.#samples.at(-1)?.memory;
      if (memory !== undefined) onProgress({ frames: this.#frames, connections: this.#done, memory });
    }
  }

  #identity(dice: Dice): Identity {
    const token = dice.chance(FALSE_TOKENS) ? `${this.#token.slice(0, -1)}-` : this.#token;
    if (this.#sessions.length > 0 && dice.chance(RESUMED)) return { session: dice.pick(this.#sessions), token };
    const session = Buffer.from(dice.bytes(16)).toString('hex');
    this.#sessions.push(session);
    if (this.#sessions.length > MOST_SESSIONS) this.#sessions.shift();
    return { session, token };
  }

  #add({ sent, ending, code, welcomed, deliveries }: Outcome): void {
    for (const kind of ['formed', 'mutated', 'raw', 'early'] as const) this.#sent[kind] += sent[kind];
    this.#endings[ending] += 1;
    if (code !== undefined) this.#codes.set(code, (this.#codes.get(code) ?? 0) + 1);
    if (welcomed) this.#welcomed += 1;
    this.#deliveries += deliveries;
  }

  #sample(): void {
    if (this.#server.hasEnded) return;
    this.#samples.push({ frames: this.#frames, memory: this.#server.memory() });
  }

  #memory(from: number, to: number, of: (...values: number[]) => number): Memory {
    const { frames } = this.#options;
    const within = this.#samples.filter((sample) => sample.frames >= from * frames && sample.frames < to * frames);
    return {
      rssBytes: of(...within.map(({ memory }) => memory.rssBytes)),
      ownBytes: of(...within.map(({ memory }) => memory.ownBytes)),
    };
  }
}

function middle(...values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** What sound commands have stored is there to stay, and would count as memory that is lost. */
async function clean(keeper: Holdfast): Promise<void> {
  for (const { channel, ready, delayed, paused } of await keeper.admin.overview()) {
    if (channel.length > 4) continue;
    if (paused) await keeper.admin.resume(channel);
    if (ready + delayed > 0) await keeper.admin.purge(channel);
  }
}
