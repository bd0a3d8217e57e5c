/**
 * The broker's process, until whoever started it lets go: `broker.js FOLDER socket` has the folder open, as other
 * processes do too; `broker.js FOLDER tcp` serves it at a free port, as `holdfast serve` does.
 */
import { startServer } from '#holdfast/host/server.js';
import { open } from '#holdfast/index.js';
import { systemClock } from '#holdfast/model/clock.js';
import { systemRandom } from '#holdfast/model/random.js';
import { formatAddress } from '#holdfast/wire/address.js';
import type { BrokerReady, Usage } from './broker-process.ts';

const [folder = '', transport = ''] = process.argv.slice(2);

const { url, close } = await (transport === 'tcp' ? serve() : share());
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send?.({ cpuMicros: user + system, rssBytes: process.memoryUsage.rss() } satisfies Usage);
});
process.once('disconnect', () => void close());
process.send?.({ url } satisfies BrokerReady);

interface Serving {
  readonly url: string;
  readonly close: () => Promise<void>;
}

async function share(): Promise<Serving> {
  const holdfast = await open(`file:${folder}`);
  return { url: `file:${folder}`, close: () => holdfast.close() };
}

async function serve(): Promise<Serving> {
  const server = await startServer(
    {
      host: {
        target: { kind: 'folder', folder },
        space: 'default',
        reserveBytes: 64 * 1024 * 1024,
        sessionTimeoutMs: 30_000,
      },
      addresses: [{ kind: 'tcp', host: '127.0.0.1', port: 0, secure: false }],
      connectionsPerAddress: 4_096,
    },
    {
      clock: systemClock,
      random: systemRandom,
      log: ({ level, message, error }) => {
        if (level !== 'info') console.error(message, error);
      },
    },
  );
  return { url: server.addresses.map(formatAddress).join(), close: () => server.close() };
}
