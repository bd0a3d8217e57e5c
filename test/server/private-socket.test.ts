import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, watch } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { listenPrivately, withSocketName } from '#holdfast/server/private-socket.js';

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-sockets-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test.each([
  ['a short path', 'short'],
  ['a path that is too long for the name of a socket', 'long-'.repeat(40)],
])('listenPrivately() makes a socket at %s that nobody else may open at any moment', async (_what, below) => {
  const folder = join(newFolder(), below);
  mkdirSync(folder);
  const path = join(folder, 'a.sock');
  const modes: number[] = [];
  const watcher = watch(folder, (_event, changed) => {
    if (changed === 'a.sock') modes.push(statSync(path).mode & 0o777);
  });
  const server = createServer((socket) => socket.end('hello'));
  onTestFinished(() => void server.close());
  await listenPrivately(server, path);
  await withSocketName(path, async (short) => {
    const socket = connect(short);
    const [said] = (await once(socket, 'data')) as [Buffer];
    expect(said.toString()).toBe('hello');
  });
  watcher.close();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(modes.filter((mode) => mode !== 0o600)).toEqual([]);
  expect(modes.length).toBeGreaterThan(0);
  expect(readdirSync(folder)).toEqual(['a.sock']);
});
