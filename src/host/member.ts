/**
 * A member of a place: one of the processes that have its store open. One of them leads its store; the others pass their
 * clients' frames on to that one. When the leader dies, or does not answer any more, the first to take the lead has it:
 * the store lets only one win.
 */
import type { LinkTraits } from '../broker/connection.ts';
import { HoldfastError, StoreError, StoreInUseError } from '../model/errors.ts';
import type { Link } from '../model/link.ts';
import type { Goodbye } from '../wire/frames.ts';
import { clientLink, NETWORK_LIMITS } from '../wire/network-link.ts';
import type { Host, HostOptions, HostTools } from './host-options.ts';
import { lead, type Leading, PATIENCE_MS } from './leading.ts';
import type { Place } from './place.ts';
import { NEIGHBOUR, relay, turnAway } from './relay.ts';

/** What a member is at present. */
type Role = Leading | { readonly kind: 'following'; readonly address: string };

/** Clients of the broker's own process end with it, so their leases may wait for them as long as a session does. */
export const OWN_PROCESS: LinkTraits = { lingerMs: Infinity, needsToken: 'never' };

/** How often a takeover is tried that the store fails, and the first pause between, in milliseconds. */
const TAKEOVER_ATTEMPTS = 6;
const TAKEOVER_PAUSE_MS = 20;

/** How long a broker that has given its store up is left to say so, in milliseconds: longer than any client pauses. */
const GIVEN_UP_MS = 2_000;

export class Member implements Host {
  readonly #place: Place;
  readonly #options: HostOptions;
  readonly #tools: HostTools;
  /** Undefined while nobody has asked since the last role was lost. */
  #role: Promise<Role> | undefined;
  #isReady = false;
  #hasBeenReady = false;
  #leading: Leading | undefined;
  #isClosed = false;

  constructor(place: Place, options: HostOptions, tools: HostTools) {
    this.#place = place;
    this.#options = options;
    this.#tools = tools;
  }

  /** Leads or follows. @throws HoldfastError when this process can do neither */
  async start(): Promise<void> {
    const role = await this.#decided();
    if (role.kind === 'leading') await role.loaded;
  }

  askReady(): boolean {
    // Where clients only come to who is ready, nobody else would ask who leads.
    if (!this.#isClosed) this.#decided().catch(() => {});
    return this.#isReady;
  }

  get hasAccessTokens(): boolean | undefined {
    return this.#leading?.broker.hasAccessTokens;
  }

  accept(link: Link, traits?: LinkTraits): void {
    this.#serve(link, traits).catch((error: unknown) => turnAway(link, error));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const role = await this.#role?.catch(() => undefined);
    if (role?.kind === 'leading') await role.close();
  }

  async #serve(link: Link, traits: LinkTraits | undefined): Promise<void> {
    for (;;) {
      if (this.#isClosed) throw new HoldfastError('CLOSED', 'The broker is closed');
      const decision = this.#decided();
      const role = await decision;
      if (role.kind === 'leading') return role.broker.accept(link, traits ?? OWN_PROCESS);
      const broker = await this.#dial(role.address);
      if (broker !== undefined) return relay(link, broker, traits ?? NEIGHBOUR, () => this.#loseLeader(decision));
      this.#loseLeader(decision);
    }
  }

  async #dial(address: string): Promise<Link | undefined> {
    const { clock } = this.#tools;
    try {
      const way = await this.#place.dial(address);
      return clientLink(way, { clock, limits: NETWORK_LIMITS, patienceMs: PATIENCE_MS });
    } catch {
      // Whether that broker is dead is decided next.
      return undefined;
    }
  }

  #decided(): Promise<Role> {
    if (this.#role !== undefined) return this.#role;
    const decision: Promise<Role> = this.#decide((failure) => this.#lost(decision, failure));
    this.#role = decision;
    decision.then(
      (role) => {
        if (this.#role !== decision) return;
        this.#isReady = this.#hasBeenReady = true;
        if (role.kind === 'leading') this.#leading = role;
      },
      () => this.#reconsider(decision),
    );
    return decision;
  }

  /** A store that another try could mend was tried often enough: who comes back hears so, and whoever comes later has it tried. */
  #lost(decision: Promise<Role>, failure: Goodbye | undefined): void {
    if (failure?.code !== 'STORE_FAILED') return this.#reconsider(decision);
    if (this.#role === decision) this.#isReady = false;
    this.#tools.clock.timer(GIVEN_UP_MS, () => this.#reconsider(decision));
  }

  #loseLeader(decision: Promise<Role>): void {
    if (this.#role !== decision) return;
    const message = `The process that led "${this.#place.name}" is gone, or does not answer`;
    this.#tools.log({ level: 'info', message });
    this.#reconsider(decision);
  }

  /** What was decided holds no more; the next who asks has it decided anew. */
  #reconsider(decision: Promise<Role>): void {
    if (this.#role !== decision) return;
    this.#role = undefined;
    this.#isReady = false;
    this.#leading = undefined;
  }

  async #decide(onLost: (failure: Goodbye | undefined) => void): Promise<Role> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await lead(this.#place, this.#options, this.#tools, onLost, this.#hasBeenReady);
      } catch (error) {
        if (error instanceof StoreInUseError) return { kind: 'following', address: error.address };
        if (attempt === TAKEOVER_ATTEMPTS || !this.#mayPass(error)) throw error;
        this.#tools.log({ level: 'warn', message: 'The store could not be taken over; it is tried again', error });
      }
      await this.#pause(TAKEOVER_PAUSE_MS * 4 ** (attempt - 1));
    }
  }

  /** Handlers that run hang on a takeover; whoever opens the store for the first time hears at once what is wrong. */
  #mayPass(error: unknown): boolean {
    return this.#hasBeenReady && !this.#isClosed && error instanceof StoreError && error.code === 'STORE_FAILED';
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#tools.clock.timer(delayMs, resolve));
  }
}
