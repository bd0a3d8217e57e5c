/** The work of the demo: reading a file once for its SHA-256, line count and gzip size. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip, gzip } from 'node:zlib';
import type { FileDigest } from './channels.ts';

/** A smaller file is read as a whole, which is quicker than a stream. */
const WHOLE_BYTES: number = 1024 * 1024;
const NEW_LINE = 0x0a;

const compress = promisify(gzip);

export async function digestFile(path: Buffer): Promise<FileDigest> {
  const { size } = await stat(path);
  if (size > WHOLE_BYTES) return digestStream(path);
  const content = await readFile(path);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const { length: gzipBytes } = await compress(content);
  return { sha256, lines: linesIn(content), bytes: content.length, gzipBytes };
}

/** The SHA-256 and the length alone. @throws an `AbortError` when `abort` fires */
export async function hashFile(path: Buffer, abort: AbortSignal): Promise<Pick<FileDigest, 'sha256' | 'bytes'>> {
  const hash = createHash('sha256');
  const { size } = await stat(path);
  let bytes = 0;
  const take = (chunk: Buffer): void => {
    hash.update(chunk);
    bytes += chunk.length;
  };
  if (size <= WHOLE_BYTES) take(await readFile(path));
  else {
    const stream = createReadStream(path, { highWaterMark: WHOLE_BYTES, signal: abort });
    for await (const chunk of stream) take(chunk as Buffer);
  }
  return { sha256: hash.digest('hex'), bytes };
}

async function digestStream(path: Buffer): Promise<FileDigest> {
  const hash = createHash('sha256');
  let [lines, bytes, gzipBytes] = [0, 0, 0];
  await pipeline(
    createReadStream(path, { highWaterMark: WHOLE_BYTES }),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.length;
        lines += linesIn(chunk);
        yield chunk;
      }
    },
    createGzip(),
    async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) gzipBytes += chunk.length;
    },
  );
  return { sha256: hash.digest('hex'), lines, bytes, gzipBytes };
}

function linesIn(chunk: Buffer): number {
  let lines = 0;
  for (let at = chunk.indexOf(NEW_LINE); at >= 0; at = chunk.indexOf(NEW_LINE, at + 1)) lines += 1;
  return lines;
}
