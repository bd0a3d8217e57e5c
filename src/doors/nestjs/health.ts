/** Whether the application can do its work, in the form in which `@nestjs/terminus` wants to know. */
import type { ModuleRef } from '@nestjs/core';
import { clientOf } from '../../api/client-of.ts';
import type { Client } from '../../client/client.ts';
import { type Duration, parseDuration } from '../../model/duration.ts';
import type { Processors } from './processors.ts';
import { DEFAULT_CONNECTION, getHoldfastToken, getProcessorsToken } from './tokens.ts';

/** What an indicator gives, under the name that it was asked for. */
export type HoldfastHealth =
  | { readonly status: 'up'; readonly durability: string; readonly consumers: number }
  | { readonly status: 'down'; readonly message: string };

export interface IsHealthyOptions {
  /** @default 'default' */
  readonly connection?: string;
  /** How long the broker may take to answer. @default '1s' */
  readonly timeout?: Duration;
}

/** A health indicator: inject it, and give `() => indicator.isHealthy('holdfast')` to `HealthCheckService.check`. */
export class HoldfastHealthIndicator {
  readonly #moduleRef: ModuleRef;

  constructor(moduleRef: ModuleRef) {
    this.#moduleRef = moduleRef;
  }

  /**
   * `up` as long as the broker answers and all consumers of processors run; `down` from the moment at which the application shuts
   * down. Never rejects for the state of the broker.
   */
  async isHealthy<const Key extends string = 'holdfast'>(
    key: Key = 'holdfast' as Key,
    { connection = DEFAULT_CONNECTION, timeout = '1s' }: IsHealthyOptions = {},
  ): Promise<Record<Key, HoldfastHealth>> {
    const timeoutMs = parseDuration(timeout, 'timeout');
    const processors = this.#moduleRef.get<Processors>(getProcessorsToken(connection), { strict: false });
    const client = clientOf(this.#moduleRef.get(getHoldfastToken(connection), { strict: false })) as Client;
    const trouble = processors.trouble ?? (await troubleWith(client, timeoutMs));
    const health: HoldfastHealth =
      trouble === undefined
        ? { status: 'up', durability: client.durability, consumers: processors.consumers }
        : { status: 'down', message: trouble };
    return { [key]: health } as Record<Key, HoldfastHealth>;
  }
}

/** Any answer will do, also one that a token does not allow more. */
async function troubleWith(client: Client, timeoutMs: number): Promise<string | undefined> {
  let cancel = (): void => {};
  const silence = new Promise<string>((resolve) => {
    cancel = client.clock.timer(timeoutMs, () => resolve(`The broker has not answered within ${timeoutMs} ms`));
  });
  const answer = client.request({ kind: 'inspect', what: 'overview', after: 0, limit: 1 }).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  try {
    return await Promise.race([answer, silence]);
  } finally {
    cancel();
  }
}
