/** The files of a folder, in one fixed order, with their names as bytes. */
import { readdir, stat } from 'node:fs/promises';

export interface FolderContent {
  /** Paths relative to the folder. */
  readonly files: readonly Buffer[];
  /** Folders whose content cannot be listed. */
  readonly closed: readonly Buffer[];
}

const SLASH: Buffer = Buffer.from('/');

/**
 * Lists every file below `folder`, its folders included. A link counts as the file that it leads to, and one that
 * leads nowhere as a file that cannot be read; folders behind links are not followed; sockets, pipes and devices
 * are passed over.
 *
 * @param except a folder that is left out
 * @throws the reason of `abort` when that fires
 */
export async function listFolder(folder: string, except: string, abort?: AbortSignal): Promise<FolderContent> {
  const files: Buffer[] = [];
  const closed: Buffer[] = [];
  const left = exceptionBelow(folder, except);
  const pending: Buffer[] = [Buffer.alloc(0)];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    abort?.throwIfAborted();
    const entries = await readdir(pathBelow(folder, at), { encoding: 'buffer', withFileTypes: true }).catch(
      () => undefined,
    );
    if (entries === undefined) {
      closed.push(at);
      continue;
    }
    for (const entry of entries.sort((a, b) => Buffer.compare(a.name, b.name))) {
      const path = at.length === 0 ? entry.name : Buffer.concat([at, SLASH, entry.name]);
      if (entry.isDirectory()) {
        if (left === undefined || !left.equals(path)) pending.push(path);
      } else if (entry.isFile() || (entry.isSymbolicLink() && (await isFileLink(pathBelow(folder, path))))) {
        files.push(path);
      }
    }
  }
  return { files, closed };
}

/** A path below a folder, for the file system. */
export function pathBelow(folder: string, path: Uint8Array): Buffer {
  return path.length === 0 ? Buffer.from(folder) : Buffer.concat([Buffer.from(folder), SLASH, path]);
}

async function isFileLink(path: Buffer): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    // It leads nowhere, to itself, or to where this user may not look.
    return true;
  }
}

function exceptionBelow(folder: string, except: string): Buffer | undefined {
  if (!except.startsWith(`${folder}/`)) return undefined;
  return Buffer.from(except.slice(folder.length + 1));
}
