/** The sessions under a lead and the connections of their clients: who comes in, who comes back, and who has to go. */
import type { Machine, Session } from '../machine/machine.ts';
import { stricter } from '../model/access-token.ts';
import type { Goodbye, Hello } from '../wire/frames.ts';
import { authorise, unauthorized } from './authorise.ts';
import type { Attendance } from './attendance.ts';
import type { Batch } from './batch.ts';
import type { Connection } from './connection.ts';

export class Sessions {
  readonly #machine: Machine;
  /** All connections of the broker, also those that have not said HELLO yet. */
  readonly #connections: Set<Connection>;
  readonly #attendance: Attendance;
  readonly #sessionTimeoutMs: number;
  readonly #bySession = new Map<Session, Connection>();

  constructor(machine: Machine, connections: Set<Connection>, attendance: Attendance, sessionTimeoutMs: number) {
    this.#machine = machine;
    this.#connections = connections;
    this.#attendance = attendance;
    this.#sessionTimeoutMs = sessionTimeoutMs;
  }

  /** Where the client of a session is, while it is connected. */
  connectionOf(session: Session): Connection | undefined {
    return this.#bySession.get(session);
  }

  hello(from: Connection, { session: id, host, token, needsToken, lingerMs = 0 }: Hello, batch: Batch): void {
    if (from.session !== undefined && from.session.id !== id) {
      return this.disconnect(from, { code: 'PROTOCOL', message: 'A connection has one session' }, batch);
    }
    // Said twice, it changes nothing: the connection goes on with what it has proven.
    if (from.session !== undefined) return welcome(from, from.session, true, batch);
    from.needsToken = stricter(from.traits.needsToken, needsToken);
    from.lingerMs = Math.max(from.traits.lingerMs, lingerMs);
    const proof = authorise(this.#machine, from.needsToken, token);
    if ('code' in proof) return this.#dismiss(from, proof, batch);
    const opened = this.#machine.open(id, host, proof);
    if (opened === undefined) {
      return this.#dismiss(from, unauthorized('The session belongs to another access token'), batch);
    }
    this.#join(opened.session, from);
    welcome(from, opened.session, opened.resumed, batch);
  }

  /** The client ends its session. */
  bye(from: Connection, { context }: Batch): void {
    if (from.session !== undefined) this.#machine.close(from.session, context);
    this.#forget(from);
    from.close();
  }

  /** The link has closed: the session waits for its client to come back. */
  lost(connection: Connection, { context }: Batch): void {
    const { session } = connection;
    if (session !== undefined) {
      // Its client may live, and have given up the link only because this broker was silent.
      const lingerMs = this.#attendance.isJustBack ? Infinity : connection.lingerMs;
      const leasesUntil = context.now + Math.min(lingerMs, this.#sessionTimeoutMs);
      this.#machine.detach(session, leasesUntil, context.now + this.#sessionTimeoutMs, context);
    }
    this.#forget(connection);
  }

  /** Says why, and closes the link. */
  disconnect(connection: Connection, goodbye: Goodbye, batch: Batch): void {
    connection.close(goodbye);
    this.lost(connection, batch);
  }

  /** Sessions end with their access tokens, and then their clients have to go. */
  dismissEnded(batch: Batch): void {
    for (const { session, message } of this.#machine.takeEndedSessions()) {
      const connection = this.#bySession.get(session);
      if (connection !== undefined) this.#dismiss(connection, unauthorized(message), batch);
    }
  }

  /** Where a token is needed as soon as there is one, those who came in without have to go, whoever made it included. */
  dismissUnproven(batch: Batch): void {
    if (!this.#machine.hasAccessTokens) return;
    for (const [session, connection] of this.#bySession) {
      if (connection.needsToken !== 'whenAny' || session.accessToken !== '') continue;
      this.#machine.close(session, batch.context);
      this.#dismiss(connection, unauthorized('This way in needs an access token'), batch);
    }
  }

  /** Hears this client no more, and says goodbye to it when what that rests on is durable. */
  #dismiss(connection: Connection, goodbye: Goodbye, batch: Batch): void {
    this.#leave(connection);
    connection.isLeaving = true;
    batch.goodbyes.push({ to: connection, goodbye });
  }

  /** A client that comes back over a new link takes its session with it. */
  #join(session: Session, connection: Connection): void {
    const before = this.#bySession.get(session);
    if (before !== undefined) {
      before.close();
      this.#forget(before);
    }
    connection.session = session;
    this.#bySession.set(session, connection);
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection);
    this.#leave(connection);
  }

  #leave(connection: Connection): void {
    if (connection.session !== undefined) this.#bySession.delete(connection.session);
    connection.leaveSession();
  }
}

function welcome(to: Connection, { applied }: Session, resumed: boolean, batch: Batch): void {
  batch.welcomes.push({ to, welcome: { resumed, applied } });
}
