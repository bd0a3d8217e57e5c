import { expect, test } from 'vitest';
import { newFolder, openUntilEnd } from '../helpers/instances.ts';
import { startServer, talking, type Talking } from '../network/processes.ts';
import { compiled, SHOP } from './programs.ts';

// A real application of NestJS, in processes of its own.

const shop = compiled(SHOP);

/** Who produces a message says how often it is tried. */
const MAILS = { attempts: 2, backoff: 5 } as const;

async function start(url: string, env: NodeJS.ProcessEnv = {}): Promise<Talking> {
  const program = talking([shop.pathOf('program.js')], { URL: url, ...env });
  await program.says((line) => 'ready' in line);
  return program;
}

/** Asks for the health until it says so: on a busy machine the broker may be late before. */
async function healthSays(program: Talking, matches: RegExp): Promise<unknown> {
  for (;;) {
    const before = program.said.length;
    program.tell(JSON.stringify({ health: true }));
    const { health } = await program.says((said) => 'health' in said && program.said.indexOf(said) >= before);
    if (matches.test(JSON.stringify(health))) return health;
  }
}

function mailsSaid(program: Talking): unknown[] {
  return program.said.flatMap((line) => ('handling' in line ? [line['handling']] : []));
}

test('an application compiles under strict options', () => {
  expect(shop.complaints).toEqual([]);
});

test('@Processor and @Process run a method for each message, with what is injected, again when it has failed', async () => {
  const url = `file:${newFolder()}`;
  const program = await start(url);
  expect(program.said[0]).toEqual({ queried: 'settings' });
  const hf = await openUntilEnd(url);
  const mails = hf.channel<object, string>('mails', MAILS);
  expect(await mails.request({ to: 'ada' })).toBe('sent to ada at attempt 1');
  expect(await mails.request({ to: 'bob', failures: 1 })).toBe('sent to bob at attempt 2');
  await expect(mails.request({ to: 'eve', failures: 2 })).rejects.toMatchObject({ code: 'DEAD' });
  program.tell(JSON.stringify({ to: 'own' }));
  const { produced } = await program.says((line) => 'produced' in line);
  expect(await mails.result((produced as { id: string }).id)).toBe('sent to own at attempt 1');
  expect(await program.end('SIGTERM')).toEqual({ code: null, signal: 'SIGTERM', errors: expect.any(String) });
});

test('@OnChannelEvent hears of the ends of messages, and an error in it stops nobody', async () => {
  const url = `file:${newFolder()}`;
  const program = await start(url);
  const hf = await openUntilEnd(url);
  const mails = hf.channel<object, string>('mails', MAILS);
  const { id } = await mails.produce({ to: 'bob', failures: 1 });
  await program.says((line) => line['audited'] === 'nacked' && line['note'] === 'no such address');
  await program.says((line) => line['heard'] === 'acked' && line['id'] === id);
  await mails.produce({ to: 'eve', failures: 2 });
  await program.says((line) => line['audited'] === 'failed' && line['attempt'] === 2);
  const { errors } = await program.end('SIGTERM');
  expect(errors).toContain('The audit is broken');
});

test('a request-scoped processor is made for each message, with the message as its request, and disposed of', async () => {
  const url = `file:${newFolder()}`;
  const program = await start(url);
  const hf = await openUntilEnd(url);
  const [orders, pictures] = [hf.channel<object, object>('orders'), hf.channel<object, number>('pictures')];
  const results = await Promise.all(['rope', 'hook', 'knot'].map((item) => orders.request({ item })));
  expect(results.map((result) => (result as { same: boolean }).same)).toEqual([true, true, true]);
  expect(new Set(results.map((result) => (result as { unit: number }).unit))).toEqual(new Set([1, 2, 3]));
  const disposed = program.said.flatMap((line) => ('disposed' in line ? [line['disposed']] : []));
  expect(new Set(disposed)).toEqual(new Set([1, 2, 3]));
  expect([await pictures.request({}), await pictures.request({})]).toEqual([1, 1]);
  const { errors } = await program.end('SIGTERM');
  expect(errors).toBe('');
});

test('SIGTERM lets handlers end before what they work with is gone, and takes nothing more', async () => {
  const url = `file:${newFolder()}`;
  const program = await start(url);
  const hf = await openUntilEnd(url);
  const mails = hf.channel<object, string>('mails', MAILS);
  const receipts = await mails.produceAll([1, 2, 3, 4, 5].map((n) => ({ to: `n${n}`, waits: n <= 2 })));
  await program.says((line) => line['handling'] === 'n2');
  program.kill('SIGTERM');
  const health = await healthSays(program, /shuts down/);
  expect(health).toMatchObject({ error: { queue: { status: 'down', message: 'The application shuts down' } } });
  program.tell('go');
  expect(await program.ended).toMatchObject({ signal: 'SIGTERM', errors: '' });
  expect(mailsSaid(program)).toEqual(['n1', 'n2']);
  const closing = program.said.findIndex((line) => line['closed'] === 'database');
  const queried = program.said.slice(0, closing).flatMap((line) => ('queried' in line ? [line['queried']] : []));
  expect(queried).toEqual(['settings', 'n1', 'n2']);
  expect(program.said.slice(closing - 1)).toEqual([{ closed: 'stamps' }, { closed: 'database' }]);
  const found = await Promise.all(receipts.map(({ id }) => mails.get(id)));
  expect(found.map((one) => [one?.state, one?.attempts])).toEqual([
    ['completed', 1],
    ['completed', 1],
    ['ready', 0],
    ['ready', 0],
    ['ready', 0],
  ]);
  await start(url);
  const results = await Promise.all(receipts.map(({ id }) => mails.result(id)));
  expect(results).toEqual([1, 2, 3, 4, 5].map((n) => `sent to n${n} at attempt 1`));
});

test('what still runs after the grace goes back uncounted', async () => {
  const url = `file:${newFolder()}`;
  const program = await start(url, { GRACE: '300ms' });
  const hf = await openUntilEnd(url);
  const mails = hf.channel<object, string>('mails', MAILS);
  const { id } = await mails.produce({ to: 'ada', waits: true });
  await program.says((line) => line['handling'] === 'ada');
  expect(await program.end('SIGTERM')).toMatchObject({ signal: 'SIGTERM' });
  expect(await mails.get(id)).toMatchObject({ state: 'ready', attempts: 0 });
});

test('the health indicator says whether the broker answers', async () => {
  const server = await startServer();
  const program = await start(server.url);
  expect(await healthSays(program, /"ok"/)).toMatchObject({
    status: 'ok',
    info: { queue: { status: 'up', durability: 'disk', consumers: 3 } },
  });
  server.kill('SIGSTOP');
  expect(await healthSays(program, /"error"/)).toMatchObject({
    status: 'error',
    error: { queue: { status: 'down', message: 'The broker has not answered within 2000 ms' } },
  });
  server.kill('SIGCONT');
  await healthSays(program, /"ok"/);
});

test('the health indicator needs no rights for itself, and says that a consumer may not go on', async () => {
  const server = await startServer();
  const hf = await openUntilEnd(`file:${server.folder}`);
  const startWith = async (...scopes: string[]): Promise<Talking> => {
    const { token } = await hf.tokens.create({ label: 'shop', scopes });
    return start(server.url, { HOLDFAST_TOKEN: token });
  };
  await healthSays(await startWith('channel:*:consume'), /"ok"/);
  const program = await startWith('channel:orders:consume', 'channel:pictures:consume');
  expect(await healthSays(program, /Consumer of/)).toMatchObject({
    error: { queue: { status: 'down', message: expect.stringMatching(/^Consumer of "mails" has stopped: /) } },
  });
});
