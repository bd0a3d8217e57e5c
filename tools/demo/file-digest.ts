/** The work of the demo: reading a file once for its SHA-256, line count and gzip size. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { FileDigest } from './channels.ts';

const NEW_LINE = 0x0a;

export async function digestFile(path: Buffer): Promise<FileDigest> {
  const hash = createHash('sha256');
  let [lines, bytes, gzipBytes] = [0, 0, 0];
  await pipeline(
    createReadStream(path),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.length;
        for (let at = chunk.indexOf(NEW_LINE); at >= 0; at = chunk.indexOf(NEW_LINE, at + 1)) lines += 1;
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
