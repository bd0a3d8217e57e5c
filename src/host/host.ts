/** The composition behind the clients of a process: a broker of its own, or the way to one elsewhere. */
import { mkdir } from 'node:fs/promises';
import { Broker } from '../broker/broker.ts';
import { createMemoryDisk, openMemoryStore } from '../store/memory.ts';
import type { Host, HostOptions, HostTools } from './host-options.ts';
import { Member, OWN_PROCESS } from './member.ts';
import { folderPlace } from './place.ts';
import { remoteHost } from './remote.ts';

/** @throws HoldfastError as `Broker.start` */
export async function startHost(options: HostOptions, tools: HostTools): Promise<Host> {
  const { target } = options;
  if (target.kind === 'memory') return startInMemory(options, tools);
  if (target.kind === 'server') return remoteHost(target.address, target.tls, tools);
  const { folder } = target;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const member = new Member(folderPlace(folder, options.space, tools), options, tools);
  await member.start();
  return member;
}

async function startInMemory(options: HostOptions, { clock, random, log }: HostTools): Promise<Host> {
  const { host, space, reserveBytes, sessionTimeoutMs } = options;
  const disk = createMemoryDisk();
  const broker = new Broker({
    openStore: async () => openMemoryStore({ disk, random }),
    isLive: async () => true,
    address: async () => 'memory',
    onServing: () => {},
    onFailed: () => {},
    host,
    space,
    clock,
    random,
    reserveBytes,
    sessionTimeoutMs,
    renewMs: Infinity,
    patienceMs: Infinity,
    log,
  });
  await broker.start();
  return {
    askReady: () => true,
    hasAccessTokens: broker.hasAccessTokens,
    accept: (link, traits = OWN_PROCESS) => broker.accept(link, traits),
    close: () => broker.close(),
  };
}
