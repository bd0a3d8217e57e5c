import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { integrations, outputs, program, root, run } from './project.mjs';

/**
 * A step is a name and either a command, which passes when it exits with 0, or a function that resolves to such a result.
 *
 * @typedef {{ code: number, output: string }} Result
 * @typedef {{ name: string, run: () => Promise<Result> }} Step
 */

const { name, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
const packed = join(outputs.other, 'pack');
const tarball = join(packed, `${name}-${version}.tgz`);

/** @type {Step} */
export const build = { name: 'build', run: buildAll };

/** What can be said of the sources alone. @type {readonly Step[]} */
export const sourceChecks = [
  { name: 'format', run: () => run([program('oxfmt'), '--check']) },
  { name: 'lint', run: () => run([program('oxlint')]) },
  { name: 'unused files, exports and dependencies', run: () => run([program('knip')]) },
];

/** What can only be said of a built package. @type {readonly Step[]} */
export const packageChecks = [
  { name: 'pack', run: pack },
  { name: 'package contents', run: () => run([program('publint'), 'run', tarball, '--strict']) },
  {
    name: 'package types',
    // `holdfast/deepkit` has the same types for both module systems: those behind `require` would hide them from Deepkit's compiler.
    run: () => run([program('attw'), tarball, '--profile', 'esm-only', '--no-color', '--ignore-rules', 'false-esm']),
  },
];

/** What tests need beside the package. @type {Step} */
export const clients = {
  name: 'Deno, Bun, Deepkit, web frameworks, and what is used beside BullMQ and NestJS',
  run: installIntegrations,
};

/** @type {Step} */
export const structure = { name: 'import directions', run: () => run([program('vitest'), 'run', 'test/structure']) };

/**
 * Runs one step, prints a line about it and, when it failed, its output.
 *
 * @param {Step} step
 * @returns {Promise<boolean>} whether it passed
 */
export async function take(step) {
  const startedAt = performance.now();
  const { code, output } = await step.run();
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${code === 0 ? 'passed' : 'FAILED'}  ${step.name} (${seconds} s)`);
  if (code !== 0) console.log(output.trimEnd());
  return code === 0;
}

async function buildAll() {
  await removeOrphans(outputs.library, join(root, 'src'));
  await removeOrphans(join(outputs.other, 'tools'), join(root, 'tools'));
  return run([program('tsc'), '-b', '--pretty', 'false']);
}

/** The compiler leaves the products of a deleted source behind, where they would still be imported and packed. */
async function removeOrphans(built, sources) {
  const modules = new Set((await filesIn(sources)).map((path) => path.replace(/\.ts$/, '')));
  for (const path of await filesIn(built)) {
    const product = /^(.*?)(\.d\.ts|\.js)(\.map)?$/.exec(path);
    if (product && !modules.has(product[1])) await rm(join(built, path));
  }
}

async function filesIn(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

/** Installs what the tests use of others, unless what the lockfiles say is there. @returns {Promise<Result>} */
export async function installIntegrations() {
  const results = [];
  for (const folder of integrations) results.push(await installIntegration(folder));
  return { code: Math.max(...results.map(({ code }) => code)), output: results.map(({ output }) => output).join('') };
}

async function installIntegration(folder) {
  const lock = join(folder, 'package-lock.json');
  const installed = join(folder, 'node_modules', 'installed-lock.json');
  const wanted = await readFile(lock, 'utf8');
  if (wanted === (await readFile(installed, 'utf8').catch(() => ''))) return { code: 0, output: '' };
  for (const command of [
    ['npm', 'ci', '--prefer-offline', '--prefix', folder],
    ['npm', 'run', '--silent', '--if-present', '--prefix', folder, 'prepare-compiler'],
  ]) {
    const result = await run(command);
    if (result.code !== 0) return result;
  }
  await writeFile(installed, wanted);
  return { code: 0, output: '' };
}

async function pack() {
  await mkdir(packed, { recursive: true });
  return run(['npm', 'pack', '--pack-destination', packed]);
}
