/** The channels of the demo, as the working processes and the count at the end see them. */
import type { Channel, Holdfast } from 'holdfast';

/** A file to work on; its path is relative to the folder, in bytes, since a name need not be a text. */
export interface AddedFile {
  readonly path: Uint8Array;
}

/** What is known of a file when the work on it is done. */
export interface FileDigest {
  readonly sha256: string;
  readonly lines: number;
  readonly bytes: number;
  readonly gzipBytes: number;
}

/** The same as an effect of the handler: a message that commits with its ack. */
export interface HashedFile {
  readonly path: Uint8Array;
  readonly sha256: string;
}

export interface DemoChannels {
  readonly added: Channel<AddedFile, AddedFile, FileDigest>;
  readonly hashed: Channel<HashedFile>;
}

export function openChannels(holdfast: Holdfast): DemoChannels {
  return {
    added: holdfast.channel<AddedFile, FileDigest>('file/added', {
      process: 'exactlyOnce',
      deduplicationInterval: '1d',
      attempts: 3,
      backoff: { type: 'exponential', delay: 100, jitter: 0.2 },
      // The demo kills on purpose, and a small folder has few files to be hit; no file is to blame for it.
      maxDeaths: 1_000,
      // The count at the end looks at every message.
      retain: { completed: false, dead: false },
    }),
    hashed: holdfast.channel<HashedFile>('file/hashed'),
  };
}

/** One file is one message, however often the folder is looked through. */
export function dedupeKeyOf(path: Uint8Array): string {
  return Buffer.from(path).toString('latin1');
}
