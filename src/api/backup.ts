/** Taking a backup: the broker makes it, part by part, as they are asked for. */
import type { Client } from '../client/client.ts';
import type { BackupView } from '../model/views.ts';
import { checkSignal, refuseUnknown } from './checks.ts';
import { ask } from './stored.ts';

export interface BackupOptions {
  /** Ends it: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** @throws TypeError for options that cannot be used */
export function takeBackup(client: Client, options: BackupOptions): AsyncGenerator<Uint8Array, void, void> {
  refuseUnknown(options, ['signal'], 'backup');
  checkSignal(options.signal);
  return parts(client, client.nextBackup(), options.signal);
}

async function* parts(
  client: Client,
  id: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  let isEnd = false;
  try {
    for (let part = 0; !isEnd; part++) {
      signal?.throwIfAborted();
      const view = (await ask(client, { kind: 'backup', id, part, stop: false })) as BackupView;
      isEnd = view.isEnd;
      yield view.bytes;
    }
  } finally {
    if (!isEnd) client.note({ kind: 'backup', id, part: 0, stop: true });
  }
}
