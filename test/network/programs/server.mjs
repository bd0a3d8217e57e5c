/**
 * A server with other limits than the command line has: `node server.mjs OPTIONS`, with OPTIONS as JSON as `startServer`
 * takes them. It says its addresses in a line of JSON, then each line of its log, and on SIGUSR2 what memory it takes.
 */
import { startServer } from '#holdfast/host/server.js';
import { systemClock } from '#holdfast/model/clock.js';
import { systemRandom } from '#holdfast/model/random.js';
import { formatAddress } from '#holdfast/wire/address.js';

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const server = await startServer(JSON.parse(process.argv[2]), {
  clock: systemClock,
  random: systemRandom,
  log: ({ level, message, error }) => say({ level, msg: message, error: error?.message }),
});
const release = systemClock.keepAlive();
process.on('SIGUSR2', () => {
  globalThis.gc?.();
  say({ rssBytes: process.memoryUsage().rss });
});
process.once('SIGTERM', () => {
  release();
  void server.close().then(() => say({ closed: true }));
});
say({ addresses: server.addresses.map(formatAddress) });
