import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { must, need } from './children.ts';
import { temporaryFolder } from './folders.ts';

const folder = temporaryFolder();

test('commit() resolves when its pages, and then its meta page, are on the disk', () => {
  need('strace');
  const trace = join(folder, 'trace');
  const calls = 'openat,pwrite64,pwritev,writev,fdatasync,write';
  must(
    'strace',
    '-f',
    '-y',
    '-o',
    trace,
    '-e',
    `trace=${calls}`,
    'node',
    'test/store/commit-script.mjs',
    join(folder, 'store'),
  );
  const lines = readFileSync(trace, 'utf8').split('\n');

  const opened = lines.find((line) => /openat\(.*default\.mdb", .*O_DSYNC/.test(line));
  const metaDescriptor = /= (\d+)</.exec(opened ?? '')?.[1];
  expect(metaDescriptor).toBeDefined();

  let acknowledged = 0;
  let since: string[] = [];
  for (const line of lines) {
    if (/ write\(1<.*"try /.test(line)) since = [];
    else if (/ write\(1<.*"ack /.test(line)) {
      const order = since.map((call) => kindOf(call, metaDescriptor as string));
      expect(order.slice(-2)).toEqual(['sync', 'meta']);
      expect(new Set(order.slice(0, -2))).toEqual(new Set(['pages']));
      acknowledged++;
    } else if (line.includes('default.mdb>')) since.push(line);
  }
  expect(acknowledged).toBe(20);
});

function kindOf(call: string, metaDescriptor: string): string {
  if (call.includes(`pwrite64(${metaDescriptor}<`)) return 'meta';
  if (call.includes('fdatasync(')) return 'sync';
  return /pwrite64\(|pwritev\(|writev\(/.test(call) ? 'pages' : call;
}
