import { describe, expect, test } from 'vitest';
import { NOTHING_COLD } from '#holdfast/machine/machine.js';
import type { Command, Reply } from '#holdfast/model/command.js';
import { parseMessageId } from '#holdfast/model/message-id.js';
import { DEFAULT_POLICY, DEFAULT_SETTINGS } from '#holdfast/model/policy.js';
import { grantOf } from '#holdfast/model/scopes.js';
import { addFlow, flowOf } from '../helpers/flow-run.ts';
import { blockOf, type Delivered, type MachineClient, MachineRun } from '../helpers/machine-run.ts';
import { messageOf, viewOf } from '../helpers/machine-views.ts';

interface Rig {
  readonly run: MachineRun;
  /** May do everything. */
  readonly trusted: MachineClient;
  /** Messages of "mail": one that is ready, one that is dead. */
  readonly ready: string;
  readonly dead: string;
  /** A client with these scopes. */
  readonly with: (...scopes: string[]) => MachineClient;
}

function start(): Rig {
  const run = new MachineRun();
  const trusted = run.client('trusted');
  const ref = trusted.declare('mail', { maxAttempts: 1 });
  trusted.declare('secret');
  const dead = trusted.produce(ref);
  trusted.window(1, ref, 1);
  trusted.nack(trusted.take()[0] as Delivered);
  trusted.window(1, ref, 0);
  const ready = trusted.produce(ref);
  let clients = 0;
  return {
    run,
    trusted,
    ready,
    dead,
    with: (...scopes) =>
      run.client(`client ${++clients}`, 'elsewhere', { accessToken: 'a'.repeat(12), grant: grantOf(scopes) }),
  };
}

const ALL = ['produce', 'consume', 'read', 'admin'] as const;

/** A command on "mail", the rights of which one is enough for it, and what the refusal says. */
type Case = readonly [
  name: string,
  command: (rig: Rig) => Command,
  rights: readonly (typeof ALL)[number][],
  says: string,
];

const declare = (more: object): Command => ({
  kind: 'declare',
  ref: 9,
  channel: 'mail',
  policy: DEFAULT_POLICY,
  settings: undefined,
  ...more,
});

const control = (action: 'pause' | 'resume' | 'purge' | 'redrive' | 'configure'): Case => [
  `control: ${action}`,
  () => ({ kind: 'control', channel: 'mail', action, settings: DEFAULT_SETTINGS }),
  ['admin'],
  `Cannot ${action} "mail": the access token lacks channel:mail:admin`,
];

const CASES: readonly Case[] = [
  ['declare', () => declare({}), ALL, 'Cannot use channel "mail"'],
  [
    'declare with settings',
    () => declare({ settings: DEFAULT_SETTINGS }),
    ['admin'],
    'Cannot set how long to retain of "mail": the access token lacks channel:mail:admin',
  ],
  [
    'produce',
    ({ run }) => ({ kind: 'produce', ref: 1, atomic: false, blocks: [blockOf([run.newId()], [{}])] }),
    ['produce'],
    'Cannot produce to "mail": the access token lacks channel:mail:produce',
  ],
  [
    'produce, all or none',
    ({ run }) => ({ kind: 'produce', ref: 1, atomic: true, blocks: [blockOf([run.newId()], [{}])] }),
    ['produce'],
    'the access token lacks channel:mail:produce',
  ],
  [
    'window',
    () => ({ kind: 'window', consumer: 1, ref: 1, size: 5 }),
    ['consume'],
    'Cannot consume "mail": the access token lacks channel:mail:consume',
  ],
  ...(['pause', 'resume', 'purge', 'redrive', 'configure'] as const).map(control),
  [
    'flow',
    ({ run }) => ({
      kind: 'flow',
      produced: [{ kind: 'produce', ref: 1, blocks: [blockOf([run.newId()], [{}])] }],
      edges: [],
      under: undefined,
    }),
    ['produce'],
    'Cannot produce to "mail": the access token lacks channel:mail:produce',
  ],
  [
    'inspect of a flow',
    ({ ready }) => ({ kind: 'inspect', what: 'flow', id: parseMessageId(ready), offset: 0, limit: 5, depth: 5 }),
    ['read'],
    'Cannot look at this message: the access token lacks channel:mail:read',
  ],
  [
    'cancel',
    ({ ready }) => ({ kind: 'manage', id: parseMessageId(ready), action: 'cancel' }),
    ['admin'],
    'Cannot cancel this message: the access token lacks channel:mail:admin',
  ],
  [
    'redrive of one',
    ({ dead }) => ({ kind: 'manage', id: parseMessageId(dead), action: 'redrive' }),
    ['admin'],
    'Cannot redrive this message: the access token lacks channel:mail:admin',
  ],
  [
    'await of a live one',
    ({ ready }) => ({ kind: 'await', id: parseMessageId(ready), stop: false }),
    ['produce', 'read'],
    'Cannot wait for this message: the access token lacks channel:mail:read or produce',
  ],
  [
    'await of an ended one',
    ({ dead }) => ({ kind: 'await', id: parseMessageId(dead), stop: false }),
    ['produce', 'read'],
    'Cannot wait for this message: the access token lacks channel:mail:read or produce',
  ],
  [
    'inspect of the channel',
    () => ({ kind: 'inspect', what: 'channel', channel: 'mail' }),
    ['read'],
    'Cannot look into "mail": the access token lacks channel:mail:read',
  ],
  [
    'list',
    () => ({ kind: 'inspect', what: 'list', channel: 'mail', state: 'ready', offset: 0, limit: 5 }),
    ['read'],
    'Cannot look into "mail": the access token lacks channel:mail:read',
  ],
  [
    'inspect of a live message',
    ({ ready }) => ({ kind: 'inspect', what: 'message', id: parseMessageId(ready) }),
    ['read'],
    'Cannot look at this message: the access token lacks channel:mail:read',
  ],
  [
    'inspect of an ended message',
    ({ dead }) => ({ kind: 'inspect', what: 'message', id: parseMessageId(dead) }),
    ['read'],
    'Cannot look at this message: the access token lacks channel:mail:read',
  ],
];

const ON_SPACE: readonly (readonly [name: string, command: Command])[] = [
  ['list of access tokens', { kind: 'inspect', what: 'tokens' }],
  ['revokeToken', { kind: 'revokeToken', id: 'a'.repeat(12) }],
  [
    'createToken',
    {
      kind: 'createToken',
      id: 'b'.repeat(12),
      hash: new Uint8Array(32),
      label: '',
      scopes: ['channel:x:read'],
      expiresInMs: undefined,
    },
  ],
];

/** All that anybody can see of the channel, to see that nothing has changed. */
function everythingOf({ run, trusted, ready, dead }: Rig): unknown {
  run.flush();
  return [viewOf(trusted, 'mail'), messageOf(trusted, ready), messageOf(trusted, dead)];
}

function isForbidden(reply: Reply): boolean {
  return reply.kind === 'refused' && reply.code === 'FORBIDDEN';
}

describe.each(CASES)('%s', (_name, command, rights, says) => {
  test.each(ALL.filter((right) => rights.includes(right)))('is allowed with %s', (right) => {
    const rig = start();
    const client = rig.with(`channel:ma*:${right}`);
    client.declare('mail');
    expect(client.ask(command(rig))).toSatisfy((reply: Reply) => !isForbidden(reply));
  });

  test('is refused with all other rights on it and all rights on others, and nothing changes', () => {
    const rig = start();
    const others = ALL.filter((right) => !rights.includes(right));
    const scopes = others.length === 0 ? [] : [`channel:mail:${others.join(',')}`];
    const client = rig.with(...scopes, `channel:mails:${ALL.join(',')}`, `channel:*/mail:${ALL.join(',')}`);
    if (others.length > 0) client.declare('mail');
    const before = everythingOf(rig);
    const reply = client.ask(command(rig));
    expect(reply).toMatchObject({ kind: 'refused', code: 'FORBIDDEN', message: expect.stringContaining(says) });
    expect(everythingOf(rig)).toEqual(before);
  });

  test('is allowed with server:admin', () => {
    const rig = start();
    const client = rig.with('server:admin');
    client.declare('mail');
    expect(client.ask(command(rig))).toSatisfy((reply: Reply) => !isForbidden(reply));
  });
});

describe.each(ON_SPACE)('%s', (_name, command) => {
  test('takes server:admin, and not all rights on all channels', () => {
    const { with: clientWith } = start();
    const reply = clientWith(`channel:*:${ALL.join(',')}`).ask(command);
    expect(reply).toMatchObject({ code: 'FORBIDDEN', message: expect.stringContaining('lacks server:admin') });
    expect(isForbidden(clientWith('server:admin').ask(command))).toBe(false);
  });
});

describe('declare', () => {
  test('with a channel for dead messages takes produce on that one too', () => {
    const { with: clientWith } = start();
    const command = declare({ policy: { ...DEFAULT_POLICY, deadLetter: 'mail-dead' } });
    expect(clientWith('channel:mail:produce', 'channel:mail-dead:read,consume,admin').ask(command)).toMatchObject({
      code: 'FORBIDDEN',
      message: 'Cannot move dead messages to "mail-dead": the access token lacks channel:mail-dead:produce',
    });
    expect(clientWith('channel:mail:read', 'channel:mail-dead:produce').ask(command)).toEqual({ kind: 'done' });
  });

  test('that is refused makes no channel', () => {
    const { trusted, with: clientWith } = start();
    clientWith('channel:a:produce').ask(declare({ channel: 'b' }));
    expect(trusted.ask({ kind: 'inspect', what: 'channels' })).toEqual({ kind: 'value', value: ['mail', 'secret'] });
  });

  test('that is refused is the answer to every command that uses its name, also after it was allowed once', () => {
    const rig = start();
    const client = rig.with('channel:mail:produce');
    client.declare('mail');
    const refused = client.ask({ ...declare({ channel: 'secret' }), ref: 1 } as Command);
    const produce: Command = { kind: 'produce', ref: 1, atomic: false, blocks: [blockOf([rig.run.newId()], [{}])] };
    expect(client.ask(produce)).toEqual(refused);
    expect(client.ask({ kind: 'window', consumer: 1, ref: 1, size: 1 })).toEqual(refused);
    client.ask({ ...declare({}), ref: 1 } as Command);
    expect(client.ask(produce)).toMatchObject({ kind: 'produced' });
  });
});

describe('a note that is refused is heard of', () => {
  test('window: the consumer is refused', () => {
    const { run, with: clientWith } = start();
    const client = clientWith('channel:mail:produce');
    client.window(3, client.declare('mail'), 5);
    client.window(4, 77, 5);
    expect(run.notices.map(({ notice }) => notice)).toEqual([
      {
        kind: 'consumerRefused',
        consumer: 3,
        code: 'FORBIDDEN',
        message: 'Cannot consume "mail": the access token lacks channel:mail:consume',
      },
      {
        kind: 'consumerRefused',
        consumer: 4,
        code: 'PROTOCOL',
        message: 'No channel was declared as 77 in this session',
      },
    ]);
    expect(client.take()).toEqual([]);
  });

  test('window: one whose channel was refused hears why', () => {
    const { run, with: clientWith } = start();
    const client = clientWith('channel:mail:produce');
    client.note({ ...declare({ channel: 'secret' }), ref: 5 } as Command);
    client.window(3, 5, 5);
    const message = expect.stringContaining('Cannot use channel "secret"');
    expect(run.notices.map(({ notice }) => notice)).toEqual([
      { kind: 'consumerRefused', consumer: 3, code: 'FORBIDDEN', message },
    ]);
  });

  test('await: the end is not told, neither now nor later', () => {
    const { run, trusted, ready, dead, with: clientWith } = start();
    const client = clientWith('channel:mail:consume,admin');
    for (const id of [ready, dead]) client.note({ kind: 'await', id: parseMessageId(id), stop: false });
    expect(run.notices.splice(0).map(({ notice }) => notice.kind)).toEqual(['awaitRefused', 'awaitRefused']);
    trusted.ask({ kind: 'manage', id: parseMessageId(ready), action: 'cancel' });
    expect(run.notices).toEqual([]);
  });

  test('await: whose rights depend on the channel does not wait for a message of an unknown one', () => {
    const { run, trusted, with: clientWith } = start();
    const id = run.newId();
    const block = blockOf([id], [{ awaited: true }]);
    trusted.ask({ kind: 'produce', ref: trusted.declare('mail'), atomic: false, blocks: [block] });
    const { session } = clientWith('channel:other:read');
    // Nothing of the message can be seen but that somebody waits for it.
    run.machine.apply(session, { request: 0, command: { kind: 'await', id, stop: false } }, run.context, NOTHING_COLD);
    run.flush();
    expect(run.notices.splice(0)).toMatchObject([{ notice: { kind: 'ended', state: undefined } }]);
    trusted.ask({ kind: 'manage', id, action: 'cancel' });
    expect(run.notices.map((told) => told.session)).toEqual(['trusted']);
  });
});

describe('a message found by its id', () => {
  test('does not tell the name of its channel to those who have no right on it', () => {
    const rig = start();
    const client = rig.with('channel:other:admin,read');
    const id = parseMessageId(rig.ready);
    for (const command of [
      { kind: 'manage', id, action: 'cancel' },
      { kind: 'inspect', what: 'message', id },
      { kind: 'await', id, stop: false },
    ] as const) {
      const reply = client.ask(command);
      expect(reply).toMatchObject({ code: 'FORBIDDEN' });
      expect(JSON.stringify(reply)).not.toContain('mail');
    }
  });
});

describe('settle with messages for other channels', () => {
  function holding(...scopes: string[]): Rig & { worker: MachineClient; lease: Delivered; other: number } {
    const rig = start();
    const worker = rig.with('channel:mail:consume', ...scopes);
    worker.window(1, worker.declare('mail'), 1);
    const other = worker.declare('other');
    return { ...rig, worker, other, lease: worker.take()[0] as Delivered };
  }

  const produced = (run: MachineRun, ref: number): Parameters<MachineClient['settle']>[2] => [
    { kind: 'produce', ref, blocks: [blockOf([run.newId()], [{}])] },
  ];

  test('is done with produce on them', () => {
    const { run, trusted, worker, lease, other } = holding('channel:other:produce');
    expect(worker.settle(lease, { kind: 'ack', result: undefined }, produced(run, other))).toEqual({
      kind: 'settled',
      lost: [],
      conflicts: [],
    });
    expect(viewOf(trusted, 'other')).toMatchObject({ ready: 1 });
    expect(viewOf(trusted, 'mail')).toMatchObject({ completed: 1 });
  });

  test.each([
    [
      'without that right',
      ['channel:other:read'],
      'Cannot produce to "other": the access token lacks channel:other:produce',
    ],
    ['without any', [], 'Cannot use channel "other"'],
  ])('%s is a failed attempt that says why: all of it or none', (_name, scopes, says) => {
    const { run, trusted, worker, lease, other, ready } = holding(...scopes);
    worker.settle(lease, { kind: 'ack', result: new Uint8Array(5) }, produced(run, other));
    expect(messageOf(trusted, ready)).toMatchObject({
      state: 'dead',
      attempts: 1,
      result: undefined,
      failure: { name: 'FORBIDDEN', message: expect.stringContaining(says) },
    });
    if (scopes.length > 0) expect(viewOf(trusted, 'other')).toMatchObject({ ready: 0, totals: { produced: 0 } });
  });

  test('does no harm to the others of the same command', () => {
    const rig = start();
    const worker = rig.with('channel:mail:consume,produce');
    const ref = worker.declare('mail');
    const other = worker.declare('other');
    worker.produceSome(ref, [{}, {}]);
    worker.window(1, ref, 3);
    const settles = worker.take().map(({ seq, token }, i) => ({
      seq,
      token,
      outcome: { kind: 'ack', result: undefined } as const,
      produced: i === 1 ? produced(rig.run, other) : undefined,
      effects: undefined,
    }));
    expect(worker.ask({ kind: 'settle', settles })).toEqual({ kind: 'settled', lost: [], conflicts: [] });
    expect(viewOf(rig.trusted, 'mail')).toMatchObject({ completed: 2, leased: 0, totals: { completed: 2 } });
  });
});

describe('leases', () => {
  test('are for the session that has them, whatever the rights of another', () => {
    const { trusted, with: clientWith, ready } = start();
    const worker = clientWith('channel:mail:consume');
    worker.window(1, worker.declare('mail'), 1);
    const { seq, token } = worker.take()[0] as Delivered;
    const thief = clientWith('channel:mail:produce,consume,read,admin');
    expect(thief.ack({ seq, token })).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
    expect(thief.ask({ kind: 'extend', seq, token, forMs: 5 })).toEqual({ kind: 'settled', lost: [0], conflicts: [] });
    expect(thief.ask({ kind: 'annotate', seq, token, progress: undefined, line: 'mine' })).toEqual({
      kind: 'settled',
      lost: [0],
      conflicts: [],
    });
    expect(messageOf(trusted, ready)).toMatchObject({ state: 'leased', log: [] });
    expect(worker.ack({ seq, token })).toEqual({ kind: 'settled', lost: [], conflicts: [] });
  });
});

test('the list of channels holds those that may be read', () => {
  const { with: clientWith } = start();
  const channels = { kind: 'inspect', what: 'channels' } as const;
  expect(clientWith('channel:m*:read', 'channel:secret:produce,consume,admin').ask(channels)).toEqual({
    kind: 'value',
    value: ['mail'],
  });
  expect(clientWith('server:admin').ask(channels)).toEqual({ kind: 'value', value: ['mail', 'secret'] });
  expect(clientWith('kv:mail:r').ask(channels)).toEqual({ kind: 'value', value: [] });
});

describe('a flow over channels of which some are not allowed', () => {
  function add(rig: Rig): { readonly top: string; readonly below: string } {
    const { run, trusted } = rig;
    const mail = trusted.declare('mail');
    const secret = trusted.declare('secret');
    const { ids } = addFlow(run, trusted, [{ ref: mail }, { ref: secret, below: [0] }]);
    return { top: ids[0] as string, below: ids[1] as string };
  }

  test('is not added, not even in part', () => {
    const rig = start();
    const client = rig.with('channel:mail:produce', 'channel:secret:read');
    const [mail, secret] = [client.declare('mail'), client.declare('secret')];
    const before = everythingOf(rig);
    const { reply } = addFlow(rig.run, client, [{ ref: mail }, { ref: secret, below: [0] }]);
    expect(reply).toMatchObject({ code: 'FORBIDDEN', message: expect.stringContaining('produce to "secret"') });
    expect(everythingOf(rig)).toEqual(before);
  });

  test('is not added below a message of another channel', () => {
    const rig = start();
    const { below } = add(rig);
    const client = rig.with('channel:mail:produce');
    const node = { ref: client.declare('mail'), below: ['top'] } as const;
    const { reply } = addFlow(rig.run, client, [node], below);
    expect(reply).toMatchObject({ code: 'FORBIDDEN', message: expect.stringContaining('add children to') });
  });

  test('shows of the others only that they are there', () => {
    const rig = start();
    const { top, below } = add(rig);
    const shown = flowOf(rig.with('channel:mail:read'), top);
    expect(shown?.children).toMatchObject([{ id: below, channel: undefined, state: 'ready' }]);
  });

  test('is cancelled with its children only by who may cancel those', () => {
    const rig = start();
    const { top, below } = add(rig);
    const cancel = { kind: 'manage', id: parseMessageId(top), action: 'cancel', children: true } as const;
    expect(rig.with('channel:mail:admin').ask(cancel)).toMatchObject({ code: 'FORBIDDEN' });
    expect(messageOf(rig.trusted, top)).toMatchObject({ state: 'waiting' });
    expect(rig.with('channel:mail:admin', 'channel:secret:admin').ask(cancel)).toEqual({ kind: 'done' });
    rig.run.run();
    expect(messageOf(rig.trusted, below)).toMatchObject({ state: 'cancelled' });
  });
});

describe('topics', () => {
  const POLICY = { ...DEFAULT_POLICY, deadLetter: 'secret' };

  test('are for those who may publish, or subscribe, and no right on a channel does', () => {
    const rig = start();
    const subscribe = { kind: 'subscribe', topic: 'news', channel: 'mail', policy: DEFAULT_POLICY } as const;
    const refused = [
      rig.with('channel:*:produce,consume,read,admin').ask(subscribe),
      rig.with('topic:news:publish', 'channel:mail:produce').ask(subscribe),
      rig.with('topic:news:subscribe').ask(subscribe),
      rig.with('topic:news:subscribe', 'channel:mail:produce').ask({ ...subscribe, policy: POLICY }),
      rig.with('topic:new:subscribe').ask({ kind: 'unsubscribe', topic: 'news', channel: 'mail' }),
      rig.with('topic:news:publish').ask({ kind: 'inspect', what: 'topic', topic: 'news' }),
    ];
    for (const reply of refused) expect(reply).toMatchObject({ kind: 'refused', code: 'FORBIDDEN' });
    expect(rig.trusted.ask({ kind: 'inspect', what: 'topics' })).toEqual({ kind: 'value', value: [] });
    expect(rig.with('topic:n*:subscribe', 'channel:mail:produce').ask(subscribe)).toEqual({ kind: 'done' });
    expect(rig.with('topic:news:publish').ask({ kind: 'inspect', what: 'topics' })).toMatchObject({ value: ['news'] });
    expect(rig.with('topic:other:publish').ask({ kind: 'inspect', what: 'topics' })).toMatchObject({ value: [] });
  });

  test('are published to with that right alone, also along with an ack or a commit', () => {
    const rig = start();
    rig.trusted.ask({ kind: 'subscribe', topic: 'news', channel: 'mail', policy: DEFAULT_POLICY });
    const publish = (client: MachineClient) => {
      client.ask({ kind: 'declareTopic', ref: 5, topic: 'news' });
      const produced = [{ kind: 'produce' as const, ref: 5, blocks: [blockOf([rig.run.newId()], [{}])] }];
      const commit = client.ask({ kind: 'kvCommit', checks: [], mutations: [], produced });
      return [
        commit,
        client.ask({ kind: 'produce', ref: 5, atomic: true, blocks: [blockOf([rig.run.newId()], [{}])] }),
      ];
    };
    for (const reply of publish(rig.with('channel:*:produce', 'topic:news:subscribe')))
      expect(reply).toMatchObject({ kind: 'refused', code: 'FORBIDDEN' });
    expect(viewOf(rig.trusted, 'mail').ready).toBe(1);
    expect(publish(rig.with('topic:news:publish')).map(({ kind }) => kind)).toEqual(['kvCommitted', 'published']);
    expect(viewOf(rig.trusted, 'mail').ready).toBe(3);
  });

  test('do not stand where only a channel may: in a window, a flow, a schedule, or beside children', () => {
    const { run, trusted: client } = start();
    client.ask({ kind: 'declareTopic', ref: 5, topic: 'news' });
    client.ask({ kind: 'subscribe', topic: 'news', channel: 'mail', policy: DEFAULT_POLICY });
    const produced = [{ kind: 'produce' as const, ref: 5, blocks: [blockOf([run.newId()], [{}])] }];
    expect(client.ask({ kind: 'window', consumer: 7, ref: 5, size: 1 })).toMatchObject({ code: 'PROTOCOL' });
    expect(client.ask({ kind: 'flow', produced, edges: [], under: undefined })).toMatchObject({ code: 'PROTOCOL' });
    const ref = client.declare('parents', { maxAttempts: 1 });
    const id = client.produce(ref);
    client.window(8, ref, 1);
    const lease = client.take().find((one) => one.id === id) as Delivered;
    client.settle(lease, { kind: 'wait', edges: [] }, produced);
    expect(messageOf(client, id)).toMatchObject({ state: 'dead', failure: { name: 'WRONG_STATE' } });
  });
});
