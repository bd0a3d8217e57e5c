/** Links of clients that may be too busy to say goodbye: their thread says it for them. */
import type { Link } from '../model/link.ts';
import { encodeBye } from '../wire/frames.ts';

export class Releasable {
  /** What ends each client's session. */
  readonly #goodbyes = new Set<() => void>();

  /** The link, through which the client can be made to have said BYE. */
  wrap(link: Link): Link {
    return {
      ...link,
      open: (receivers) => {
        const sayBye = (): void => receivers.frame(encodeBye());
        this.#goodbyes.add(sayBye);
        link.open({
          ...receivers,
          closed: (cause) => {
            this.#goodbyes.delete(sayBye);
            receivers.closed(cause);
          },
        });
      },
    };
  }

  /** Ends the sessions of all clients: what they hold goes back uncounted. */
  release(): void {
    for (const sayBye of this.#goodbyes) sayBye();
    this.#goodbyes.clear();
  }
}
