/** Files by id, in a folder. */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';

export type Kind = 'original' | 'thumbnail';

export class FileStorage {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Resolves when the file is on the disk; it has its name when it is whole, and not before. */
  async write(kind: Kind, fileId: string, bytes: Uint8Array): Promise<void> {
    const path = await this.#pathOf(kind, fileId);
    const file = await open(`${path}.partial`, 'w');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.partial`, path);
  }

  /** Gives the file, or `undefined` when there is none. */
  async read(kind: Kind, fileId: string): Promise<Buffer | undefined> {
    try {
      return await readFile(await this.#pathOf(kind, fileId));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async #pathOf(kind: Kind, fileId: string): Promise<string> {
    // An id comes from a request: nothing else may become a path.
    if (!/^[0-9a-f-]{36}$/.test(fileId)) throw new RangeError(`Cannot use "${fileId}" as the id of a file`);
    await mkdir(join(this.#folder, kind), { recursive: true });
    return join(this.#folder, kind, fileId);
  }
}
