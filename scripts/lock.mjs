import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { integrations, root, run } from './project.mjs';

// Writes the lockfiles anew, each from its package.json. Prebuilt binaries come as one optional package for each platform, and npm
// leaves those out of the lockfile that the registry in use does not carry; `npm ci` then refuses the lockfile because they
// are missing from it, although this platform needs none of them. They are added here, in the version that the package
// which asks for them states. They have no integrity hash: that is known only where they can be downloaded.

for (const folder of [root, ...integrations]) await lock(folder);

async function lock(folder) {
  // It is made in an empty folder: beside an installed tree, npm would list what is installed and nothing else.
  const empty = await mkdtemp(join(tmpdir(), 'holdfast-lock-'));
  for (const file of ['package.json', '.npmrc']) await copyFile(join(folder, file), join(empty, file));
  const { code } = await run(['npm', 'install', '--package-lock-only', '--prefix', empty], { show: true });
  if (code !== 0) process.exit(code);
  const { packages, ...rest } = JSON.parse(await readFile(join(empty, 'package-lock.json'), 'utf8'));
  await rm(empty, { recursive: true });
  const completed = { ...rest, packages: withOtherPlatforms(packages) };
  await writeFile(join(folder, 'package-lock.json'), `${JSON.stringify(completed, null, 2)}\n`);
}

function withOtherPlatforms({ '': project, ...packages }) {
  const added = {};
  for (const { dev, optionalDependencies = {} } of Object.values(packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const path = `node_modules/${name}`;
      if (path in packages) continue;
      const { cpu, libc, os } = platformOf(name);
      // In the order in which npm itself writes them, so that its next run leaves the file alone.
      added[path] = { version, cpu, ...(dev && { dev }), ...(libc && { libc }), optional: true, os };
    }
  }
  const byPath = ([a], [b]) => a.localeCompare(b, 'en');
  return { '': project, ...Object.fromEntries(Object.entries({ ...packages, ...added }).sort(byPath)) };
}

/** The fields by which npm tells whether a package suits the platform, from a name such as `binding-linux-x64-musl`. */
function platformOf(name) {
  const match =
    /(android|darwin|freebsd|linux|openharmony|sunos|webcontainers|win32)(musl)?-(arm64|arm|ia32|loong64|ppc64|riscv64|s390x|wasm32|x64)\b(.*)$/.exec(
      name,
    );
  if (match === null) throw new Error(`Cannot tell the platform of "${name}" from its name`);
  const [, os, musl, cpu, rest] = match;
  // What is compiled to WebAssembly is for a processor that npm is told of by hand, whatever the system.
  if (cpu === 'wasm32') return { cpu: [cpu] };
  const libc = { '-gnu': ['glibc'], '-musl': ['musl'] }[musl === undefined ? rest : `-${musl}`];
  return { cpu: [cpu], libc, os: [os] };
}
