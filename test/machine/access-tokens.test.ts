import { describe, expect, test } from 'vitest';
import { KIND, Layout } from '#holdfast/machine/layout.js';
import { ByteReader, ByteWriter } from '#holdfast/model/bytes.js';
import type { CreateToken, Reply } from '#holdfast/model/command.js';
import type { TokenView } from '#holdfast/model/views.js';
import type { Entry } from '#holdfast/model/records.js';
import { EVERYTHING, grantOf } from '#holdfast/model/scopes.js';
import { type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { messageOf } from '../helpers/machine-views.ts';

const ID = '0123456789ab';

function tokenOf(id: string, given: Partial<CreateToken> = {}): CreateToken {
  return {
    kind: 'createToken',
    id,
    hash: new Uint8Array(32).fill(Number.parseInt(id.slice(-2), 16)),
    label: `label ${id}`,
    scopes: ['channel:mail:produce,consume,read'],
    expiresInMs: undefined,
    ...given,
  };
}

function tokensOf(client: MachineClient): TokenView[] {
  const reply = client.ask({ kind: 'inspect', what: 'tokens' });
  if (reply.kind !== 'value') throw new Error(`The answer is ${JSON.stringify(reply)}`);
  return reply.value as TokenView[];
}

function idOf(number: number): string {
  return number.toString(16).padStart(12, '0');
}

/** A worker that came in with the token, and holds one message of two. */
function working(
  given: Partial<CreateToken> = {},
  host: string = 'elsewhere',
): {
  run: MachineRun;
  admin: MachineClient;
  worker: MachineClient;
  held: string;
  deliver: () => string[];
} {
  const run = new MachineRun();
  const admin = run.client('admin');
  admin.ask(tokenOf(ID, given));
  const token = run.machine.accessToken(ID);
  if (token === undefined) throw new Error('There is no such token');
  const worker = run.client('worker', host, { accessToken: ID, grant: token.grant });
  const ref = worker.declare('mail');
  const [held] = worker.produceSome(ref, [{}, {}]) as [string];
  worker.window(1, ref, 1);
  const taken = worker.take();
  worker.started(taken);
  const other = (): string[] => {
    const client = run.client('other');
    client.window(1, client.declare('mail'), 10);
    return client.takeIds();
  };
  return { run, admin, worker, held, deliver: other };
}

describe('createToken', () => {
  test.each([false, true])('keeps all but the secret (after a restart: %s)', (restarts) => {
    const run = new MachineRun();
    const admin = run.client('admin');
    const scopes = ['channel:mail/*:produce,read', 'kv:users:r', 'server:admin'];
    expect(admin.ask(tokenOf(ID, { scopes, expiresInMs: 5_000 }))).toEqual({ kind: 'value', value: run.now });
    run.advance(10);
    admin.ask(tokenOf('ffffffffffff'));
    const hash = run.machine.accessToken(ID)?.hash;
    if (restarts) run.reload();
    const createdAt = run.now - 10;
    expect(tokensOf(admin)).toEqual([
      {
        id: ID,
        label: `label ${ID}`,
        scopes,
        state: 'live',
        createdAt,
        expiresAt: createdAt + 5_000,
        revokedAt: undefined,
      },
      {
        id: 'ffffffffffff',
        label: 'label ffffffffffff',
        scopes: ['channel:mail:produce,consume,read'],
        state: 'live',
        createdAt: run.now,
        expiresAt: undefined,
        revokedAt: undefined,
      },
    ]);
    expect(run.machine.accessToken(ID)?.hash).toEqual(hash);
    expect(run.machine.accessToken(ID)?.grant).toEqual(grantOf(scopes));
  });

  test('refuses an id that is taken, and changes nothing', () => {
    const run = new MachineRun();
    const admin = run.client('admin');
    admin.ask(tokenOf(ID));
    expect(admin.ask(tokenOf(ID, { scopes: ['server:admin'] }))).toMatchObject({ code: 'WRONG_STATE' });
    expect(tokensOf(admin)).toMatchObject([{ id: ID, scopes: ['channel:mail:produce,consume,read'] }]);
  });

  test('asked twice under one number, is done once', () => {
    const run = new MachineRun();
    const admin = run.client('admin');
    const first = admin.ask(tokenOf(ID));
    run.reload();
    run.advance(50);
    expect(run.apply(admin.session, admin.lastRequest, tokenOf(ID))).toEqual(first);
    expect(tokensOf(admin)).toHaveLength(1);
  });

  test('keeps at most 1,000; the one that ended first gives way, and one that lives never does', () => {
    const run = new MachineRun();
    const admin = run.client('admin');
    for (let i = 0; i < 1_000; i++) admin.ask(tokenOf(idOf(i)));
    expect(admin.ask(tokenOf(idOf(5_000)))).toMatchObject({ code: 'TOO_MANY' });
    run.advance(5);
    admin.ask({ kind: 'revokeToken', id: idOf(7) });
    run.advance(5);
    admin.ask({ kind: 'revokeToken', id: idOf(3) });
    expect(admin.ask(tokenOf(idOf(5_000)))).toMatchObject({ kind: 'value' });
    run.reload();
    const ids = tokensOf(admin).map(({ id }) => id);
    expect(ids).toHaveLength(1_000);
    expect(ids).not.toContain(idOf(7));
    expect(ids).toContain(idOf(3));
  });
});

describe('revokeToken', () => {
  test('of an unknown one is refused, of one that was revoked is done already', () => {
    const run = new MachineRun();
    const admin = run.client('admin');
    expect(admin.ask({ kind: 'revokeToken', id: ID })).toMatchObject({ code: 'NOT_FOUND' });
    admin.ask(tokenOf(ID));
    expect(admin.ask({ kind: 'revokeToken', id: ID })).toEqual({ kind: 'done' });
    const [{ revokedAt } = {}] = tokensOf(admin);
    run.advance(100);
    expect(admin.ask({ kind: 'revokeToken', id: ID })).toEqual({ kind: 'done' });
    expect(tokensOf(admin)).toMatchObject([{ state: 'revoked', revokedAt }]);
  });

  test('ends the sessions of the token at once: what they hold goes back, uncharged and without a suspicion', () => {
    const { run, admin, worker, held, deliver } = working();
    admin.ask({ kind: 'revokeToken', id: ID });
    expect(run.machine.takeEndedSessions()).toMatchObject([
      { session: { id: 'worker' }, message: `The access token "${ID}" was revoked` },
    ]);
    expect(run.machine.takeEndedSessions()).toEqual([]);
    expect(messageOf(admin, held)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
    run.forget(worker);
    expect(deliver()).toHaveLength(2);
  });

  test('leaves the sessions of others alone, be it of a token with the same scopes', () => {
    const { run, admin, held } = working();
    const other = 'aaaaaaaaaaaa';
    admin.ask(tokenOf(other));
    admin.ask({ kind: 'revokeToken', id: other });
    expect(run.machine.takeEndedSessions()).toEqual([]);
    expect(messageOf(admin, held)).toMatchObject({ state: 'leased' });
  });

  test('ends a session whose client is away', () => {
    const { run, admin, worker, held } = working();
    run.machine.detach(worker.session, run.now + 5_000, run.now + 5_000, run.context);
    run.forget(worker);
    admin.ask({ kind: 'revokeToken', id: ID });
    expect(messageOf(admin, held)).toMatchObject({ state: 'ready', deaths: 0 });
    run.advance(10_000);
    expect(messageOf(admin, held)).toMatchObject({ state: 'ready', deaths: 0 });
  });

  test('leaves no session behind for the broker that comes next', () => {
    const { run, admin, worker } = working();
    admin.ask({ kind: 'revokeToken', id: ID });
    run.forget(worker);
    run.reload();
    expect(run.machine.open('worker', 'elsewhere', { accessToken: ID, grant: EVERYTHING })).toMatchObject({
      resumed: false,
    });
  });
});

describe('a token with an end', () => {
  test('lives until the millisecond before, and has expired at the very one', () => {
    const { run, admin, worker, held } = working({ expiresInMs: 1_000 });
    run.advance(999);
    expect(tokensOf(admin)).toMatchObject([{ state: 'live' }]);
    expect(run.machine.takeEndedSessions()).toEqual([]);
    expect(run.machine.nextWake().machine).toBe(run.now + 1);
    run.forget(worker);
    run.advance(1);
    expect(tokensOf(admin)).toMatchObject([{ state: 'expired' }]);
    expect(run.machine.takeEndedSessions()).toMatchObject([{ message: `The access token "${ID}" has expired` }]);
    expect(messageOf(admin, held)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
    expect(run.machine.nextWake().machine).toBeGreaterThan(run.now);
  });

  test('that was revoked before stays revoked', () => {
    const { run, admin } = working({ expiresInMs: 1_000 });
    admin.ask({ kind: 'revokeToken', id: ID });
    run.machine.takeEndedSessions();
    run.advance(2_000);
    expect(tokensOf(admin)).toMatchObject([{ state: 'revoked' }]);
    expect(run.machine.takeEndedSessions()).toEqual([]);
  });

  test('that has expired can be revoked, and its session is not ended twice', () => {
    const { run, admin, worker } = working({ expiresInMs: 1_000 });
    run.forget(worker);
    run.advance(1_000);
    run.machine.takeEndedSessions();
    expect(admin.ask({ kind: 'revokeToken', id: ID })).toEqual({ kind: 'done' });
    expect(run.machine.takeEndedSessions()).toEqual([]);
  });

  test('that came while no broker ran gives its leases back at the start, as those of one that may have died', () => {
    const { run, admin, worker, held, deliver } = working({ expiresInMs: 1_000 });
    run.flush();
    run.forget(worker);
    run.now += 1_000;
    run.wall += 1_000;
    run.reload();
    expect(messageOf(admin, held)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
    expect(deliver()).toEqual([held]);
    expect(run.machine.open('worker', 'elsewhere', { accessToken: ID, grant: EVERYTHING })).toMatchObject({
      resumed: false,
    });
  });

  test.each([
    ['is away', false],
    ['has come back', true],
  ])('that comes while a broker is still loading gives them back as well (its client %s)', (_name, isBack) => {
    const { run, admin, worker, held, deliver } = working({ expiresInMs: 1_000 }, 'host');
    if (!isBack) run.forget(worker);
    run.reload(run.host, () => {
      run.now += 1_000;
      run.wall += 1_000;
      run.machine.expireTokens(run.context);
      run.forget(worker);
    });
    expect(run.machine.takeEndedSessions()).toMatchObject([{ session: { id: 'worker' } }]);
    expect(messageOf(admin, held)).toMatchObject({ state: 'ready', attempts: 0, deaths: 0 });
    // A client that was away may have died with its message, which goes alone first.
    expect(deliver()).toHaveLength(isBack ? 2 : 1);
    run.reload();
    expect(run.machine.open('worker', 'host', { accessToken: ID, grant: EVERYTHING })).toMatchObject({
      resumed: false,
    });
  });

  test('that did not come yet keeps them', () => {
    const { run, admin, worker, held } = working({ expiresInMs: 1_000 });
    run.forget(worker);
    run.now += 999;
    run.wall += 999;
    run.reload();
    expect(messageOf(admin, held)).toMatchObject({ state: 'leased' });
  });

  test('goes by the wall clock where machine time is behind it, as after a sleep', () => {
    const { run, admin, worker, held } = working({ expiresInMs: 1_000 });
    run.forget(worker);
    run.wall += 1_000;
    expect(run.isDue).toBe(true);
    run.run();
    expect(tokensOf(admin)).toMatchObject([{ state: 'expired' }]);
    expect(messageOf(admin, held)).toMatchObject({ state: 'ready' });
    admin.ask(tokenOf('cccccccccccc', { expiresInMs: 500 }));
    expect(tokensOf(admin)[1]).toMatchObject({ state: 'live', createdAt: run.wall });
    run.wall -= 1_000;
    expect(tokensOf(admin)).toMatchObject([{ state: 'expired' }, { state: 'live' }]);
    run.advance(1_500);
    expect(tokensOf(admin)[1]).toMatchObject({ state: 'expired' });
  });

  test('is not put off by a wall clock that is set back', () => {
    const { run, admin, worker } = working({ expiresInMs: 1_000 });
    run.forget(worker);
    run.advance(1_000);
    run.wall -= 3_600_000;
    run.now = run.wall;
    run.reload();
    expect(tokensOf(admin)).toMatchObject([{ state: 'expired' }]);
  });
});

describe('a session', () => {
  test.each([false, true])('belongs to the token it was opened with (after a restart: %s)', (restarts) => {
    const { run, admin, worker, held } = working();
    const other = 'bbbbbbbbbbbb';
    admin.ask(tokenOf(other));
    run.forget(worker);
    if (restarts) run.reload();
    for (const accessToken of [other, '']) {
      expect(run.machine.open('worker', 'elsewhere', { accessToken, grant: EVERYTHING })).toBeUndefined();
    }
    expect(messageOf(admin, held)).toMatchObject({ state: 'leased' });
    const own = run.machine.open('worker', 'elsewhere', { accessToken: ID, grant: grantOf(['channel:x:read']) });
    expect(own).toMatchObject({ resumed: true, session: { grant: grantOf(['channel:x:read']) } });
  });

  test.each([false, true])('without a token does not come to belong to one (after a restart: %s)', (restarts) => {
    const { run, admin } = working();
    run.forget(admin);
    if (restarts) run.reload();
    expect(run.machine.open('admin', 'host', { accessToken: ID, grant: EVERYTHING })).toBeUndefined();
  });

  test('of a store from before there were tokens has none', () => {
    const run = new MachineRun();
    const client = run.client('client');
    client.produce(client.declare('mail'));
    run.flush();
    run.forget(client);
    const layout = new Layout('test');
    const [{ key, value }] = [...run.disk.entries.items(layout.range(KIND.session))] as [Entry];
    const reader = new ByteReader(value, 1);
    const [id, host, accessToken] = [reader.text(), reader.text(), reader.text()];
    const record = new ByteWriter();
    record.u8(1);
    record.text(id);
    record.text(host);
    record.raw(reader.raw(reader.left));
    expect(accessToken).toBe('');
    run.disk.entries.put(key, record.finish());
    run.reload();
    const opened = run.machine.open('client', 'host', { accessToken: '', grant: EVERYTHING });
    expect(opened).toMatchObject({ resumed: true, session: { applied: client.lastRequest } });
  });

  test('that was restored may do nothing before its client has proven itself', () => {
    const { run, worker } = working();
    run.forget(worker);
    run.flush();
    run.reload();
    const opened = run.machine.open('worker', 'elsewhere', { accessToken: ID, grant: grantOf([]) });
    const reply: Reply | undefined =
      opened &&
      run.apply(opened.session, opened.session.applied + 1, {
        kind: 'control',
        channel: 'mail',
        action: 'pause',
        settings: undefined,
      });
    expect(reply).toMatchObject({ kind: 'refused', code: 'FORBIDDEN' });
  });
});
