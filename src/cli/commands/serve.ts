/** `holdfast serve`: a server for clients on this machine and on others. */
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { systemClock } from '../../model/clock.ts';
import { type Duration, parseDuration } from '../../model/duration.ts';
import { systemRandom } from '../../model/random.ts';
import { type Address, DEFAULT_PORT, formatAddress, parseAddress } from '../../wire/address.ts';

interface ServeOptions {
  readonly data: string;
  readonly listen: readonly Address[];
  readonly port?: number;
  readonly space: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
  readonly insecureNoTls: boolean;
  readonly sessionTimeout: number;
  readonly reserveBytes: number;
  readonly maxConnectionsPerAddress: number;
  readonly logLevel: string;
}

/** Read here: to commander a switch is on as soon as its variable is there, whatever it says. */
const INSECURE_NO_TLS = 'HOLDFAST_INSECURE_NO_TLS';

const EXAMPLE = `
Addresses: unix:PATH, or a host and port behind holdfast:// (or tcp://), holdfasts:// (or tls://), ws://, wss://. Every TCP
or TLS address also takes WebSockets, answers GET /health/live and /health/ready, and is a database for Deno and @deno/kv at
http://HOST:PORT/kv. Where others can reach an address, it needs TLS and clients need a token (holdfast token create).

Examples:
  holdfast serve --data ./data
  holdfast serve --data /var/lib/holdfast --listen holdfasts://0.0.0.0:7420 --tls-cert cert.pem --tls-key key.pem

Signals: SIGTERM and SIGINT end it, SIGHUP reads the certificates anew.`;

export function addServe(program: Command): void {
  program
    .command('serve')
    .description('serve a folder to clients on this machine or on others')
    .addOption(new Option('--data <folder>', 'the folder with the store').env('HOLDFAST_DATA').makeOptionMandatory())
    .addOption(
      new Option('--listen <address...>', `where to listen (default: holdfast://127.0.0.1:${DEFAULT_PORT})`)
        .env('HOLDFAST_LISTEN')
        .argParser(collectAddresses)
        .default([]),
    )
    .addOption(
      new Option('--port <number>', 'also listen at this port of all addresses').env('PORT').argParser(readPort),
    )
    .addOption(new Option('--space <name>', 'the unit of atomicity to serve').env('HOLDFAST_SPACE').default('default'))
    .addOption(new Option('--tls-cert <file>', 'certificate, PEM').env('HOLDFAST_TLS_CERT'))
    .addOption(new Option('--tls-key <file>', 'its key, PEM').env('HOLDFAST_TLS_KEY'))
    .addOption(
      new Option('--tls-client-ca <file>', 'only clients with a certificate of this authority, PEM').env(
        'HOLDFAST_TLS_CLIENT_CA',
      ),
    )
    .addOption(
      new Option(
        '--insecure-no-tls',
        `no TLS, also where others can reach an address: something in front does it (env: ${INSECURE_NO_TLS})`,
      ).default(false),
    )
    .addOption(
      new Option('--session-timeout <duration>', 'how long a client may be silent or away')
        .env('HOLDFAST_SESSION_TIMEOUT')
        .argParser(readDuration)
        .default(30_000, '30s'),
    )
    .addOption(
      new Option('--reserve-bytes <bytes>', 'free space on the disk that new messages may not take')
        .env('HOLDFAST_RESERVE_BYTES')
        .argParser(readCount)
        .default(64 * 1024 * 1024),
    )
    .addOption(
      new Option('--max-connections-per-address <count>', 'connections of one remote address')
        .env('HOLDFAST_MAX_CONNECTIONS_PER_ADDRESS')
        .argParser(readCount)
        .default(4_096),
    )
    .addOption(
      new Option('--log-level <level>', 'what is logged')
        .env('HOLDFAST_LOG_LEVEL')
        .choices(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
        .default('info'),
    )
    .addHelpText('after', EXAMPLE)
    .action(serve);
}

async function serve(options: ServeOptions): Promise<void> {
  const { tlsCert, tlsKey, tlsClientCa, port } = options;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new TypeError('Cannot use --tls-cert without --tls-key, nor --tls-key without --tls-cert');
  }
  const secure = tlsCert !== undefined;
  const addresses = [...options.listen];
  if (port !== undefined) addresses.push({ kind: 'tcp', host: '0.0.0.0', port, secure });
  if (addresses.length === 0) addresses.push({ kind: 'tcp', host: '127.0.0.1', port: DEFAULT_PORT, secure: false });
  // The certificates are being read anyway.
  process.on('SIGHUP', ignore);
  const [{ destination, pino }, { openKvConnect }, { startServer }] = await Promise.all([
    import('pino'),
    import('../../doors/kv-connect/door.ts'),
    import('../../host/server.ts'),
  ]);
  // Synchronous, so that the last lines before an end are not lost.
  const logger = pino({ level: options.logLevel }, destination({ sync: true }));
  const server = await startServer(
    {
      host: {
        target: { kind: 'folder', folder: resolve(options.data) },
        space: options.space,
        reserveBytes: options.reserveBytes,
        sessionTimeoutMs: options.sessionTimeout,
      },
      addresses,
      tls:
        tlsCert !== undefined && tlsKey !== undefined
          ? { cert: tlsCert, key: tlsKey, clientCa: tlsClientCa }
          : undefined,
      insecure: options.insecureNoTls || isOn(INSECURE_NO_TLS),
      connectionsPerAddress: options.maxConnectionsPerAddress,
    },
    {
      clock: systemClock,
      random: systemRandom,
      log: ({ level, message, error }) => logger[level]({ ...(error !== undefined && { err: error }) }, message),
    },
    [openKvConnect],
  );
  // Before anybody is told that it serves: a signal that nobody listens to would end it.
  const told = ended();
  process.off('SIGHUP', ignore).on('SIGHUP', () => {
    server.reload().then(
      (read) =>
        logger.info(
          read ? 'The certificates were read anew' : 'There are no certificates to read: no --tls-cert is given',
        ),
      (error: unknown) => logger.error({ err: error }, 'The certificates cannot be used; the old ones stay'),
    );
  });
  logger.info({ addresses: server.addresses.map(formatAddress), data: resolve(options.data) }, 'Serving');
  const signal = await told;
  logger.info({ signal }, 'Closing');
  await server.close();
  logger.info('Closed');
}

function ignore(): void {}

/** Resolves with the first signal to end; a second one ends the process at once. */
function ended(): Promise<NodeJS.Signals> {
  return new Promise((done) => {
    // The sockets alone must not be what keeps the process alive: a server may listen only in its folder.
    const release = systemClock.keepAlive();
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        release();
        process.once('SIGTERM', () => process.exit(1)).once('SIGINT', () => process.exit(1));
        done(signal);
      });
    }
  });
}

/** @throws TypeError for what is neither on nor off: a switch that opens a door must not be on by mistake */
function isOn(variable: string): boolean {
  const value = process.env[variable] ?? '';
  if (value === '1' || value === 'true') return true;
  if (value === '' || value === '0' || value === 'false') return false;
  throw new TypeError(`Cannot use "${value}" as ${variable}: write true or false`);
}

function collectAddresses(text: string, before: readonly Address[]): readonly Address[] {
  try {
    // In the environment they stand in one text.
    return [
      ...before,
      ...text
        .split(/[\s,]+/)
        .filter((part) => part !== '')
        .map(parseAddress),
    ];
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function readPort(text: string): number {
  const port = readCount(text);
  if (port <= 65_535) return port;
  throw new InvalidArgumentError('It must be a port, from 0 to 65535.');
}

function readCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count)) return count;
  throw new InvalidArgumentError('It must be a whole number.');
}

function readDuration(text: string): number {
  try {
    return parseDuration((/^\d+$/.test(text) ? Number(text) : text) as Duration, 'session-timeout');
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
