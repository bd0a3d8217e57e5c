/** By which tokens NestJS knows what the module provides. */

/** The name of the connection where none is given. */
export const DEFAULT_CONNECTION = 'default';

/** The token of a channel: to inject it by hand, and to put something else in its place in a test. */
export function getChannelToken(channel: string, connection: string = DEFAULT_CONNECTION): string {
  return `holdfast:${connection}:channel:${channel}`;
}

/** The token of an instance of Holdfast. */
export function getHoldfastToken(connection: string = DEFAULT_CONNECTION): string {
  return `holdfast:${connection}`;
}

/** Of the options of a connection. */
export function getOptionsToken(connection: string): string {
  return `holdfast:${connection}:options`;
}

/** Of what runs the processors of a connection. */
export function getProcessorsToken(connection: string): string {
  return `holdfast:${connection}:processors`;
}

/** Of a connection: an instance, and how it is let go of. */
export function getConnectionToken(connection: string): string {
  return `holdfast:${connection}:connection`;
}
