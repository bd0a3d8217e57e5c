/** The way to a server elsewhere: a connection for each client of this process. */
import type { Link } from '../model/link.ts';
import type { Address } from '../wire/address.ts';
import { dial, type TlsClientOptions, unreachable } from '../wire/dial.ts';
import type { Host, HostTools } from './host-options.ts';
import { farewell, NEIGHBOUR, relay, turnAway } from './relay.ts';

export function remoteHost(address: Address, tls: TlsClientOptions, { clock }: HostTools): Host {
  const serve = async (link: Link): Promise<void> => {
    const server = await dial(address, tls, clock);
    // Who has been welcomed connects again, whatever the reason; whoever has not wants to know it.
    relay(link, server, NEIGHBOUR, (reason) => link.send(farewell(unreachable(address, tls, reason))));
  };
  return {
    askReady: () => true,
    hasAccessTokens: undefined,
    accept: (link) => void serve(link).catch((error: unknown) => turnAway(link, error)),
    close: async () => {},
  };
}
