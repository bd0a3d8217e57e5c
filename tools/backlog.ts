/** What the tools ask of a channel page by page or again and again: all its messages, and whether any is left. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, State, StoredMessage } from 'holdfast';

/** The most that one `list` gives. */
const PAGE = 100;

/** Every message of one state. What comes or goes meanwhile may be passed over or come twice. */
export async function* listAll<Message>(
  channel: Channel<Message, Message>,
  state: State,
): AsyncGenerator<StoredMessage<Message>> {
  for (let offset = 0; ; offset += PAGE) {
    const page = await channel.list(state, { offset, limit: PAGE });
    yield* page;
    if (page.length < PAGE) return;
  }
}

/** Resolves when no message of the channel is left to work on. @param lookEveryMs the pause between two looks */
export async function allEnded(channel: Pick<Channel<never>, 'inspect'>, lookEveryMs: number): Promise<void> {
  for (;;) {
    const { ready, delayed, leased, waiting } = await channel.inspect();
    if (ready + delayed + leased + waiting === 0) return;
    await sleep(lookEveryMs);
  }
}
