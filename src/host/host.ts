/** The composition behind the clients of a process: a broker of its own, or the way to one elsewhere. */
import { mkdir } from 'node:fs/promises';
import { Broker } from '../broker/broker.ts';
import { createMemoryDisk, openMemoryStore } from '../store/memory.ts';
import type { Host, HostOptions, HostTools } from './host-options.ts';
import { Member } from './member.ts';

/** @throws HoldfastError as `Broker.start` */
export async function startHost(options: HostOptions, tools: HostTools): Promise<Host> {
  const { folder } = options;
  if (folder === undefined) return startInMemory(options, tools);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const member = new Member(folder, options, tools);
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
    onFailed: () => {},
    host,
    space,
    clock,
    random,
    reserveBytes,
    sessionTimeoutMs,
    log,
  });
  await broker.start();
  return {
    accept: (link) => broker.accept(link, { lingerMs: Infinity }),
    close: () => broker.close(),
  };
}
