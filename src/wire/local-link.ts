/** Two ends of a link within one thread. */
import type { Clock } from '../model/clock.ts';
import type { Link, LinkReceivers } from '../model/link.ts';

/** Frames arrive in order, after whatever was running when they were sent. */
export function localLink(clock: Clock): { readonly client: Link; readonly broker: Link } {
  const ends = [createEnd(clock), createEnd(clock)] as const;
  ends[0].peer = ends[1];
  ends[1].peer = ends[0];
  return { client: ends[0], broker: ends[1] };
}

interface End extends Link {
  peer: End | undefined;
  receive(frame: Uint8Array): void;
  shut(): void;
}

function createEnd(clock: Clock): End {
  let receivers: LinkReceivers | undefined;
  let isOpen = true;
  let release = (): void => {};
  const early: Uint8Array[] = [];
  const end: End = {
    peer: undefined,
    open(given) {
      receivers = given;
      for (const frame of early.splice(0)) clock.afterInput(() => end.receive(frame));
    },
    send(frame) {
      const { peer } = end;
      if (isOpen) clock.afterInput(() => peer?.receive(frame));
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      const { peer } = end;
      clock.afterInput(() => receivers?.closed());
      clock.afterInput(() => peer?.shut());
    },
    hold(waiting) {
      release();
      release = waiting ? clock.keepAlive() : () => {};
    },
    flow() {},
    isCongested: false,
    receive(frame) {
      if (!isOpen) return;
      if (receivers === undefined) early.push(frame);
      else receivers.frame(frame);
    },
    shut() {
      if (!isOpen) return;
      isOpen = false;
      receivers?.closed();
    },
  };
  return end;
}
