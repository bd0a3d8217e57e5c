/** Deno itself. `npm run integrations` installs it. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder that it and its package for Node are installed in. */
export const DENO = fileURLToPath(new URL('../../integrations/deno/', import.meta.url));

/** The program itself, past the script that starts it, so that what is started can be ended. */
export function denoProgram(): string {
  const { platform, arch } = process;
  const name = `@deno/${platform}-${arch}${platform === 'linux' ? '-glibc' : ''}/deno${platform === 'win32' ? '.exe' : ''}`;
  return createRequire(join(DENO, 'package.json')).resolve(name);
}
