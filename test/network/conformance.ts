import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open, type OpenOptions } from 'holdfast';
import { apiConformance, type ApiFactory } from 'holdfast/testing';
import { afterAll, test } from 'vitest';
import type { EndBehind } from './processes.ts';

/** A folder that is deleted behind the last test of the file; not for hooks. */
export function folderOfFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-conformance-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** For hooks, in which a hook cannot be asked for any more: what is given to it ends behind the last test of the file. */
export function endsBehindFile(): EndBehind {
  const ends: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  return (end) => void ends.push(end);
}

/** The same store for all cases, reached by this URL. */
export function sharedBy(url: () => string, options: OpenOptions = {}): ApiFactory {
  return async () => ({ open: () => open(url(), options), dispose: async () => {} });
}

/** Makes a test of each case. */
export function runAll(factory: ApiFactory, handlersMayRepeat: boolean = false): void {
  for (const { name, run } of apiConformance(factory, { handlersMayRepeat })) test(name, run);
}
