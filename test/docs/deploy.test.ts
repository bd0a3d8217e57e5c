import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { type Channel, open } from 'holdfast';
import { holdfast, main } from '../cli/running-cli.ts';
import { newFolder } from '../helpers/instances.ts';
import { startCommand, talking } from '../network/processes.ts';
import { codeBlocksOf, readDocuments, root } from './markdown.ts';

// The pages of docs/deploy and the files that they say to copy. Platforms are not here, so what is looked at is that files are
// well formed, that they name what there is, and that what they start does start.

const FILES = join(root, 'docs/deploy/files');
const files = readdirSync(FILES).map((name) => ({ name, text: readFileSync(join(FILES, name), 'utf8') }));
const pages = readDocuments().filter(({ path }) => path.startsWith('docs/deploy/'));

/** Data of a file whose form is not known here. */
type Data = string | number | boolean | null | undefined | Data[] | { readonly [key: string]: Data };

function dataOf(name: string): Data[] {
  const file = files.find((one) => one.name === name);
  const documents = parseAllDocuments(file?.text ?? '', { strict: true, uniqueKeys: true });
  if (!Array.isArray(documents)) throw new Error(`${name} is empty`);
  expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([]);
  return documents.map((document) => document.toJS() as Data);
}

/** What lies at the end of a path; a number is a place in a list. */
function at(data: Data, path: string): Data {
  return path.split('.').reduce<Data>((one, key) => (one as Record<string, Data> | undefined)?.[key], data);
}

/** All texts, wherever they stand. */
function textsIn(data: Data): string[] {
  if (typeof data === 'string') return [data];
  return typeof data === 'object' && data !== null ? Object.values(data).flatMap(textsIn) : [];
}

test('each platform has a page that says that a file store needs a disk that lasts', () => {
  expect(pages.map(({ path }) => path).sort((a, b) => (a < b ? -1 : 1))).toEqual(
    ['README', 'docker-compose', 'heroku', 'kubernetes', 'systemd'].map((name) => `docs/deploy/${name}.md`),
  );
  for (const { path, text } of pages) expect([path, /disk/.test(text) && /store/.test(text)]).toEqual([path, true]);
});

test('each file is one that a page says to copy', () => {
  const linked = pages.flatMap(({ text }) => [...text.matchAll(/\(files\/([\w.-]+)\)/g)].map((match) => match[1]));
  expect(new Set(files.map(({ name }) => name))).toEqual(new Set(linked));
});

test('the file for Docker Compose has a server with a volume, and clients that find it', () => {
  const [compose] = dataOf('compose.yaml') as [Data];
  const volume = textsIn(at(compose, 'services.queue.volumes'))[0]?.split(':') ?? [];
  expect(Object.keys(at(compose, 'volumes') as object)).toEqual([volume[0]]);
  expect(textsIn(at(compose, 'services.queue.command'))).toContain(volume[1]);
  for (const client of ['web', 'worker']) {
    expect(at(compose, `services.${client}.environment.HOLDFAST_URL`)).toBe('holdfast://queue:7420');
    expect(at(compose, `services.${client}.depends_on.queue.condition`)).toBe('service_healthy');
  }
});

test('the files for Kubernetes have one server on a volume, and names that agree', () => {
  const documents = ['holdfast.yaml', 'worker.yaml', 'autoscaling.yaml'].flatMap(dataOf);
  const named = (kind: string, name: string): Data =>
    documents.find((one) => at(one, 'kind') === kind && at(one, 'metadata.name') === name);
  const server = named('StatefulSet', 'holdfast');
  const container = at(server, 'spec.template.spec.containers.0');
  expect(at(server, 'spec.replicas')).toBe(1);
  expect(at(server, 'spec.volumeClaimTemplates.0.spec.accessModes')).toEqual(['ReadWriteOnce']);
  expect(at(server, 'spec.volumeClaimTemplates.0.metadata.name')).toBe(at(container, 'volumeMounts.0.name'));
  expect(at(named('Service', 'holdfast'), 'spec.ports.0.port')).toBe(7_420);
  const workload = at(named('ScaledObject', 'worker'), 'spec.scaleTargetRef.name') as string;
  expect(at(named('Deployment', workload), 'spec.template.spec.containers.0.env.0.value')).toBe(
    'holdfast://holdfast:7420',
  );
  for (const one of documents.filter((document) => at(document, 'spec.selector.matchLabels') !== undefined)) {
    expect(at(one, 'spec.selector.matchLabels')).toEqual(at(one, 'spec.template.metadata.labels'));
  }
  const [overrides] = dataOf('token-overrides.json') as [Data];
  const claim = `${at(server, 'spec.volumeClaimTemplates.0.metadata.name') as string}-holdfast-0`;
  expect(at(overrides, 'spec.volumes.0.persistentVolumeClaim.claimName')).toBe(claim);
  expect(textsIn(at(overrides, 'spec.containers.0.args'))).toContain('/data/store');
});

test.each(['holdfast.service', 'holdfast-worker.service'])('the unit %s has what systemd has to know', (name) => {
  const text = files.find((file) => file.name === name)?.text ?? '';
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  expect(lines.filter((line) => line.startsWith('['))).toEqual(['[Unit]', '[Service]', '[Install]']);
  expect(lines.filter((line) => !/^(\[\w+\]|[A-Z]\w+=.*)$/.test(line))).toEqual([]);
  for (const start of ['ExecStart=/usr/bin/env holdfast ', 'User=', 'Restart=always', 'TimeoutStopSec=']) {
    expect(lines.filter((line) => line.startsWith(start))).toHaveLength(1);
  }
  expect(lines).toContain('WantedBy=multi-user.target');
});

/** A use of the command: its words behind `holdfast`. */
interface Use {
  readonly where: string;
  readonly words: readonly string[];
}

/** Lines of shells and units in which the command, or the image that is the command, stands. */
function usesInText(where: string, text: string): Use[] {
  return text
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, ''))
    .flatMap((line) => line.split(/\$\(|\||&&/))
    .flatMap((part) => {
      const match = /(?:^|\s)(?:holdfast|run --rm queue)\s+(?!holdfast\b)([a-z]+(?:\s.*)?)$/.exec(part.trim());
      const words = match?.[1]?.match(/'[^']*'|\S+/g) ?? [];
      return words.length === 0 || /systemctl|journalctl|create|kubectl|useradd/.test(part.split('holdfast')[0] ?? '')
        ? []
        : [{ where, words }];
    });
}

const uses: readonly Use[] = [
  ...pages.flatMap((page) =>
    codeBlocksOf(page)
      .filter(({ language }) => ['sh', 'ini'].includes(language))
      .flatMap(({ code, path, line }) => usesInText(`${path}:${line}`, code)),
  ),
  ...files.filter(({ name }) => name.endsWith('.service')).flatMap(({ name, text }) => usesInText(name, text)),
  { where: 'compose.yaml', words: textsIn(at(dataOf('compose.yaml')[0], 'services.queue.command')) },
  { where: 'holdfast.yaml', words: textsIn(at(dataOf('holdfast.yaml')[1], 'spec.template.spec.containers.0.args')) },
  {
    where: 'token-overrides.json',
    words: textsIn(at(dataOf('token-overrides.json')[0], 'spec.containers.0.args')),
  },
];

test('the command and its flags are used as its help says', async () => {
  expect(uses.length).toBeGreaterThan(15);
  const program = (await holdfast('--help')).output;
  const helps = new Map<string, string>();
  for (const { where, words } of uses) {
    const [name = '', second = ''] = words;
    expect([where, name, program.includes(`\n  ${name} `)]).toEqual([where, name, true]);
    const command = name === 'token' ? [name, second] : [name];
    const key = command.join(' ');
    const help = helps.get(key) ?? (await holdfast(...command, '--help')).output;
    helps.set(key, help);
    for (const flag of words.filter((word) => word.startsWith('--') && word !== '--')) {
      expect([where, key, flag, help.includes(`${flag} `) || help.includes(`${flag},`)]).toEqual([
        where,
        key,
        flag,
        true,
      ]);
    }
  }
});

test('variables of the environment are those that the command and open() know', () => {
  const known = readFileSync(join(root, 'docs/server.md'), 'utf8') + readFileSync(join(root, 'docs/cli.md'), 'utf8');
  const named = [...pages, ...files].flatMap(({ text }) => text.match(/HOLDFAST_[A-Z_]+/g) ?? []);
  expect([...new Set(named)].filter((name) => !known.includes(`\`${name}\``))).toEqual([]);
});

test.each(['compose.yaml', 'holdfast.yaml'])('the server of %s starts, once there is a token', async (where) => {
  const folder = newFolder();
  const words = uses
    .find((use) => use.where === where)
    ?.words.map((word) => (word.startsWith('/data') ? folder : word.replace(':7420', ':0'))) as string[];
  const refused = startCommand(words);
  expect(await refused.ended).toMatchObject({ code: 2, errors: expect.stringContaining('without a token') as string });
  const made = await holdfast(
    'token',
    'create',
    '--data',
    folder,
    '--label',
    'app',
    '--scope',
    'channel:*:read',
    '--json',
  );
  const server = startCommand(words);
  const { addresses } = await server.says(({ msg }) => msg === 'Serving');
  const url = String((addresses as string[])[0]).replace('0.0.0.0', '127.0.0.1');
  const { token } = JSON.parse(made.output) as { token: string };
  const hf = await open(url, { token });
  expect(await hf.channelNames()).toEqual([]);
  await hf.close();
});

test('the backlog is told over HTTP, where the rules of the autoscaler look for it', async () => {
  const rules = at(dataOf('autoscaling.yaml').at(-1), 'spec.triggers') as Data[];
  const folder = newFolder();
  const hf = await open(`file:${folder}`);
  const files: Channel<number> = hf.channel<number>('uploaded_files_queue');
  await files.produceAll([1, 2, 3]);
  await files.produce(4, { delay: '1h' });
  await hf.close();

  const bin = join(newFolder(), 'bin');
  mkdirSync(bin);
  // As npm installs it.
  writeFileSync(join(bin, 'holdfast'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 });
  const env = { PORT: '0', HOLDFAST_DATA: folder, PATH: `${bin}:${process.env['PATH']}` };
  const server = talking([join(FILES, 'backlog-server.mjs')], env);
  const { text } = await server.says((line) => String(line['text']).startsWith('Listening'));
  const base = `http://127.0.0.1:${/\d+/.exec(String(text))?.[0]}`;
  const ask = async (path: string): Promise<Data> => (await (await fetch(base + path)).json()) as Data;

  for (const rule of rules) {
    const path = new URL(at(rule, 'metadata.url') as string).pathname;
    expect(at(await ask(path), at(rule, 'metadata.valueLocation') as string)).toBeTypeOf('number');
  }
  expect(await ask('/uploaded_files_queue')).toMatchObject({ backlog: 4, ready: 3 });
  expect(await ask('/')).toMatchObject({ total: { backlog: 4 } });
  expect((await fetch(`${base}/mial`)).status).toBe(503);
  expect(await server.end('SIGTERM')).toEqual({ code: 0, signal: null, errors: '' });
});
