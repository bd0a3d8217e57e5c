import type { Holdfast } from 'holdfast';

/** Waits until so many messages of a channel have been acknowledged since the store was made. */
export async function untilAcked(hf: Holdfast, channel: string, count: number): Promise<void> {
  let acked = 0;
  for await (const event of hf.events({ after: 0, channel })) {
    if (event.kind === 'message' && event.what === 'acked') acked += 1;
    if (acked === count) return;
  }
}
