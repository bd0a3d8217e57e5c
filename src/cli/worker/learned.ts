/** What is remembered of the FILEs between two runs of a supervisor: the channels that they listen to. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Place } from './messages.ts';

/** Raised when the form changes; another version is forgotten and learned anew. */
const VERSION = 1;

interface Memory {
  readonly version: number;
  /** What the FILEs contained; others may listen to something else. */
  readonly content: string;
  readonly places: readonly Place[];
}

export class Learned {
  readonly #folder: string;
  readonly #files: readonly string[];
  readonly #path: string;

  /** @param target what the FILEs are told to work on, if anything: with another target they listen elsewhere */
  constructor(folder: string, files: readonly string[], target: string) {
    this.#folder = folder;
    this.#files = files;
    const name = createHash('sha256')
      .update(JSON.stringify([files, target]))
      .digest('hex')
      .slice(0, 32);
    this.#path = join(folder, `workers-${name}.json`);
  }

  /** The places, or `undefined` when they must be learned. */
  async read(): Promise<readonly Place[] | undefined> {
    try {
      const memory = JSON.parse(await readFile(this.#path, 'utf8')) as Memory;
      if (memory.version !== VERSION || memory.content !== (await this.#content())) return undefined;
      return memory.places.length === 0 ? undefined : memory.places;
    } catch {
      // Not there, or not readable: it is learned anew.
      return undefined;
    }
  }

  async write(places: readonly Place[]): Promise<void> {
    const memory: Memory = { version: VERSION, content: await this.#content(), places };
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const aside = `${this.#path}.${process.pid}`;
    await writeFile(aside, JSON.stringify(memory), { mode: 0o600 });
    await rename(aside, this.#path);
  }

  async #content(): Promise<string> {
    const hash = createHash('sha256');
    for (const file of this.#files) hash.update(await readFile(file)).update('\0');
    return hash.digest('hex');
  }
}

/** Where programs of this user keep such things. */
export function stateFolder(): string {
  const { XDG_STATE_HOME: state, LOCALAPPDATA: windows } = process.env;
  return join(state ?? windows ?? join(homedir(), '.local', 'state'), 'holdfast');
}
