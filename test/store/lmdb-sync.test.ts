import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { must, need } from './children.ts';
import { temporaryFolder } from './folders.ts';

const folder = temporaryFolder();

/** A commit in the log; in the places: new pages, and the meta page behind them. A meta page is written through O_DSYNC. */
const APPENDED = 'log log-sync';
const IN_PLACE = /^(pages )+sync meta$/;

test('commit() resolves when its record, or its pages and then its meta page, are on the disk', () => {
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

  const seen = { appended: 0, inPlace: 0, folds: 0 };
  let since: string[] = [];
  for (const line of lines) {
    if (/ write\(1<.*"try /.test(line)) {
      // Between two commits the log is folded.
      if (seen.appended + seen.inPlace > 0 && since.length > 0) {
        expect(since.join(' ')).toMatch(IN_PLACE);
        seen.folds++;
      }
      since = [];
    } else if (/ write\(1<.*"ack /.test(line)) {
      const order = since.join(' ');
      if (order === APPENDED) seen.appended++;
      else {
        expect(order).toMatch(IN_PLACE);
        seen.inPlace++;
      }
      since = [];
    } else if (/default\.mdb(-log-\w+)?>/.test(line) && !isMark(line))
      since.push(kindOf(line, metaDescriptor as string));
  }
  expect(seen.appended + seen.inPlace).toBe(50);
  expect(seen.inPlace).toBe(2);
  expect(seen.folds).toBeGreaterThan(10);
});

/** The byte in the log that says whether its leader is in a write transaction; it need not be durable. */
function isMark(call: string): boolean {
  return /pwrite64\(\d+<[^>]*-log-\w+>, "\\?\d+", 1, /.test(call);
}

function kindOf(call: string, metaDescriptor: string): string {
  const log = /default\.mdb-log-\w+>/.test(call);
  if (call.includes(`pwrite64(${metaDescriptor}<`)) return 'meta';
  if (call.includes('fdatasync(')) return log ? 'log-sync' : 'sync';
  return /pwrite64\(|pwritev\(|writev\(/.test(call) ? (log ? 'log' : 'pages') : call;
}
