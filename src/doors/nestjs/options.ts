/** What the module is told. */
import type { FactoryProvider, ModuleMetadata, Type } from '@nestjs/common';
import type { Holdfast } from '../../api/holdfast.ts';
import type { ChannelOptions } from '../../api/options.ts';
import type { Duration } from '../../model/duration.ts';
import type { OpenOptions } from '../../open.ts';

export interface HoldfastModuleOptions extends OpenOptions {
  /** What to open. @default as for `open` */
  readonly url?: string;
  /** An instance that is open already, and that whoever opened it closes; then nothing else of `open` can be given. */
  readonly instance?: Holdfast;
  /**
   * How long handlers may go on when the application shuts down; what still runs then gets its signal and goes back, uncounted. Less than
   * the platform leaves a process.
   * @default as long as they take
   */
  readonly grace?: Duration;
}

export interface HoldfastRootOptions extends HoldfastModuleOptions {
  /** What the connection is called, where there are several. @default 'default' */
  readonly connection?: string;
}

/** Makes the options, as a class. */
export interface HoldfastOptionsFactory {
  createHoldfastOptions(): HoldfastModuleOptions | Promise<HoldfastModuleOptions>;
}

/** One of `useFactory`, `useClass` and `useExisting`. */
export interface HoldfastRootAsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  /** What the connection is called, where there are several. @default 'default' */
  readonly connection?: string;
  readonly useFactory?: FactoryProvider<HoldfastModuleOptions>['useFactory'];
  /** What the factory is given. */
  readonly inject?: FactoryProvider['inject'];
  /** A class of which an instance is made. */
  readonly useClass?: Type<HoldfastOptionsFactory>;
  /** A provider that there is. */
  readonly useExisting?: Type<HoldfastOptionsFactory>;
}

export interface RegisterChannelOptions extends ChannelOptions {
  readonly name: string;
  /** @default 'default' */
  readonly connection?: string;
}
