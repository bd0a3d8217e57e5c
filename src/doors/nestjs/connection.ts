/** An instance of Holdfast that lives as long as the application. */
import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import type { Holdfast } from '../../api/holdfast.ts';
import { parseDuration } from '../../model/duration.ts';
import { type LogLine, open } from '../../open.ts';
import type { HoldfastModuleOptions } from './options.ts';

export class Connection implements OnApplicationShutdown {
  readonly holdfast: Holdfast;
  readonly logger: Logger;
  readonly graceMs: number | undefined;
  readonly #isOwn: boolean;

  private constructor(holdfast: Holdfast, logger: Logger, graceMs: number | undefined, isOwn: boolean) {
    this.holdfast = holdfast;
    this.logger = logger;
    this.graceMs = graceMs;
    this.#isOwn = isOwn;
  }

  /** @throws TypeError, RangeError, HoldfastError as `open` does */
  static async open({ url, instance, grace, ...options }: HoldfastModuleOptions): Promise<Connection> {
    const graceMs = grace === undefined ? undefined : parseDuration(grace, 'grace');
    const logger = new Logger('Holdfast');
    if (instance === undefined) {
      const log = (line: LogLine): void => write(logger, line);
      return new Connection(await open(url, { log, ...options }), logger, graceMs, true);
    }
    const other = Object.keys({ ...(url !== undefined && { url }), ...options })[0];
    if (other === undefined) return new Connection(instance, logger, graceMs, false);
    throw new TypeError(`Cannot use "${other}" and "instance" together: the instance is open already`);
  }

  /** The last step of an application's end: what it has to produce meanwhile it still can. */
  async onApplicationShutdown(): Promise<void> {
    if (this.#isOwn) await this.holdfast.close(this.graceMs === undefined ? {} : { grace: this.graceMs });
  }
}

function write(logger: Logger, { level, message, error }: LogLine): void {
  const stack = error instanceof Error ? error.stack : undefined;
  if (level === 'error') logger.error(message, stack);
  else if (level === 'warn') logger.warn(message);
  else logger.debug(message);
}
