import { copyFileSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { open, type OpenOptions } from 'holdfast';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openUntilEnd } from '../helpers/instances.ts';
import { type Authority, type CertificateFiles, makeAuthority } from './certificates.ts';
import { type RunningServer, startServer } from './processes.ts';

/** A server with these certificates, at addresses of the schemes that are secure. */
function serveSecurely({ cert, key }: CertificateFiles, more: readonly string[] = []): Promise<RunningServer> {
  return startServer({
    listen: ['holdfasts://127.0.0.1:0', 'wss://127.0.0.1:0'],
    more: ['--tls-cert', cert, '--tls-key', key, ...more],
  });
}

/** Produces over each address. */
async function expectServed({ addresses }: RunningServer, tls: NonNullable<OpenOptions['tls']>): Promise<void> {
  for (const address of addresses) {
    const hf = await openUntilEnd(address, { tls });
    await hf.channel<number>('mail').produce(1);
  }
}

async function expectUnreachable(
  { addresses }: Pick<RunningServer, 'addresses'>,
  tls: NonNullable<OpenOptions['tls']>,
  reason: string | RegExp,
): Promise<void> {
  const attempts = addresses.map(async (address) => {
    const error: unknown = await open(address, { tls, connectTimeout: '300ms' }).catch((cause: unknown) => cause);
    expect(error, address).toMatchObject({ code: 'UNREACHABLE', message: expect.stringMatching(reason) });
    expect((error as Error).cause, address).toBeInstanceOf(Error);
  });
  await Promise.all(attempts);
}

/** What clients are told whose certificate is missing, or is not accepted. */
const SHOW_ONE = /show it a client certificate with "tls.cert" and "tls.key"$/;
const LOOK_AT_IT = /see that the client certificate in "tls.cert" is valid and of an authority that the server knows$/;

function textsOf({ cert, key }: CertificateFiles): { cert: string; key: string } {
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

/** The serial number of the certificate that the server shows, and the connection. */
async function shown({ port }: RunningServer, ca: string): Promise<{ serial: string; socket: TLSSocket }> {
  const socket = connect({ port, host: '127.0.0.1', ca });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  return { serial: socket.getPeerCertificate().serialNumber, socket };
}

describe('a client under TLS', () => {
  test('reaches a server whose certificate its authority has signed, and no other', async () => {
    const authority = makeAuthority();
    const ca = authority.caText;
    const server = await serveSecurely(authority.certificate('server'));
    await expectServed(server, { ca });
    const plain = server.addresses.map((address) => address.replace(/s:/, ':'));
    await Promise.all([
      expectUnreachable(server, {}, /certificate|unable to verify/),
      expectUnreachable(server, { ca: makeAuthority().caText }, /certificate|unable to verify/),
      expectUnreachable(server, { ca, servername: 'elsewhere' }, /altnames|does not match/),
      expectUnreachable({ addresses: plain }, {}, ''),
    ]);
  });

  test('does not trust an expired certificate', async () => {
    const authority = makeAuthority();
    const server = await serveSecurely(authority.certificate('server', -1));
    await expectUnreachable(server, { ca: authority.caText }, 'expired');
  });

  test('has to show a certificate of the authority that the server names, if it names one', async () => {
    const authority = makeAuthority();
    const ca = authority.caText;
    const server = await serveSecurely(authority.certificate('server'), ['--tls-client-ca', authority.ca]);
    await expectServed(server, { ca, ...textsOf(authority.certificate('client')) });
    await Promise.all([
      expectUnreachable(server, { ca }, SHOW_ONE),
      expectUnreachable(server, { ca, ...textsOf(makeAuthority().certificate('stranger')) }, LOOK_AT_IT),
      expectUnreachable(server, { ca, ...textsOf(authority.certificate('late', -1)) }, LOOK_AT_IT),
    ]);
    await server.says(({ msg }) => /refused: .*did not return a certificate/.test(String(msg)));
    expect(server.said.filter(({ level }) => level === 50)).toEqual([]);
  });
});

describe('SIGHUP', () => {
  /** Puts other certificates into the place of those that the server was started with. */
  function replace(place: CertificateFiles, by: CertificateFiles): void {
    copyFileSync(by.cert, place.cert);
    copyFileSync(by.key, place.key);
  }

  async function start(): Promise<{ authority: Authority; place: CertificateFiles; server: RunningServer }> {
    const authority = makeAuthority();
    const place = authority.certificate('place');
    return { authority, place, server: await serveSecurely(place) };
  }

  const isReload = ({ msg }: Readonly<Record<string, unknown>>): boolean => msg === 'The certificates were read anew';
  const isRefusal = ({ msg }: Readonly<Record<string, unknown>>): boolean =>
    msg === 'The certificates cannot be used; the old ones stay';

  test('makes the server read its certificates anew, and connections that are there stay', async () => {
    const { authority, place, server } = await start();
    const ca = authority.caText;
    const hf = await openUntilEnd(server.url, { tls: { ca } });
    const before = await shown(server, ca);
    replace(place, authority.certificate('renewed'));
    server.kill('SIGHUP');
    await server.says(isReload);
    const after = await shown(server, ca);
    expect(after.serial).not.toBe(before.serial);
    expect(before.socket.destroyed).toBe(false);
    await hf.channel<number>('mail').produce(1);
    await expectServed(server, { ca });
  });

  test('finds nothing to read at a server without TLS', async () => {
    const server = await startServer();
    server.kill('SIGHUP');
    const line = await server.says(({ msg }) => /certificates/.test(String(msg)));
    expect(line['msg']).toBe('There are no certificates to read: no --tls-cert is given');
    await (await openUntilEnd(server.url)).channel<number>('mail').produce(1);
  });

  test('changes nothing when the new certificates are no use', async () => {
    const { authority, place, server } = await start();
    const ca = authority.caText;
    const before = await shown(server, ca);
    const renewed = authority.certificate('renewed');
    const other = authority.certificate('other');
    const spoiled = [
      { cert: renewed.cert, key: other.key },
      { cert: other.key, key: renewed.key },
    ];
    for (const [i, pair] of spoiled.entries()) {
      replace(place, pair);
      const refusals = (): number => server.said.filter(isRefusal).length;
      expect(refusals()).toBe(i);
      server.kill('SIGHUP');
      await server.says((line) => isRefusal(line) && refusals() > i);
      expect((await shown(server, ca)).serial).toBe(before.serial);
    }
    await expectServed(server, { ca });
    replace(place, renewed);
    server.kill('SIGHUP');
    await server.says(isReload);
    expect((await shown(server, ca)).serial).not.toBe(before.serial);
  });
});
