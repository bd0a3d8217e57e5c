import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { outputs, program, run } from './project.mjs';

const [name, ...args] = process.argv.slice(2);
if (name === undefined) throw new TypeError('Name the tool to run: bench, demo, fuzz, sim, torture or workers');

const built = await run([program('tsc'), '-b', 'tools', '--pretty', 'false']);
if (built.code !== 0) {
  console.error(built.output.trimEnd());
  process.exit(built.code);
}

// The tool runs in this process, so that signals, the terminal and the exit code are its own.
const main = join(outputs.other, 'tools', name, 'main.js');
process.argv = [process.execPath, main, ...args];
await import(pathToFileURL(main).href);
