/** Bun itself. `npm run integrations` installs it. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { DENO } from './deno.ts';

/** The program itself, and not the one that stands in for it until an install script has run. */
export function bunProgram(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const arch = process.arch === 'arm64' ? 'aarch64' : process.arch;
  const name = `@oven/bun-${platform}-${arch}/bin/bun${platform === 'windows' ? '.exe' : ''}`;
  return createRequire(join(DENO, 'package.json')).resolve(name);
}
