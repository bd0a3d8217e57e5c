/** The module: opens an instance, registers channels, runs processors, and lets go of all of it when the application ends. */
import { type DynamicModule, type FactoryProvider, Module, type Provider } from '@nestjs/common';
import { DiscoveryModule, DiscoveryService, ModuleRef } from '@nestjs/core';
import type { Holdfast } from '../../api/holdfast.ts';
import { Connection } from './connection.ts';
import { HoldfastHealthIndicator } from './health.ts';
import type {
  HoldfastModuleOptions,
  HoldfastOptionsFactory,
  HoldfastRootAsyncOptions,
  HoldfastRootOptions,
  RegisterChannelOptions,
} from './options.ts';
import { Processors } from './processors.ts';
import {
  DEFAULT_CONNECTION,
  getChannelToken,
  getConnectionToken,
  getHoldfastToken,
  getOptionsToken,
  getProcessorsToken,
} from './tokens.ts';

export class HoldfastModule {
  /** Opens an instance for the whole application. */
  static forRoot({ connection = DEFAULT_CONNECTION, ...options }: HoldfastRootOptions = {}): DynamicModule {
    return rootModule(connection, { provide: getOptionsToken(connection), useValue: options });
  }

  /** Opens an instance for the whole application with options that something else has to be asked for. */
  static forRootAsync(options: HoldfastRootAsyncOptions): DynamicModule {
    const { connection = DEFAULT_CONNECTION, imports = [], useClass } = options;
    const made = useClass === undefined ? [] : [{ provide: useClass, useClass }];
    return rootModule(connection, optionsProvider(getOptionsToken(connection), options), imports, made);
  }

  /** Makes channels known to the module that imports this, and to whoever runs its processors. */
  static registerChannel(...channels: readonly RegisterChannelOptions[]): DynamicModule {
    const providers = channels.map(({ name, connection, ...options }): FactoryProvider => ({
      provide: getChannelToken(name, connection),
      inject: [getHoldfastToken(connection)],
      useFactory: (holdfast: Holdfast) => holdfast.channel(name, options as object),
    }));
    return { module: HoldfastModule, providers, exports: providers.map(({ provide }) => provide) as string[] };
  }
}

// The sources are compiled without decorators.
Module({})(HoldfastModule);

function rootModule(
  connection: string,
  options: Provider,
  imports: NonNullable<DynamicModule['imports']> = [],
  others: readonly Provider[] = [],
): DynamicModule {
  const [held, holdfast] = [getConnectionToken(connection), getHoldfastToken(connection)];
  return {
    module: HoldfastModule,
    global: true,
    imports: [DiscoveryModule, ...imports],
    providers: [
      ...others,
      options,
      {
        provide: held,
        inject: [getOptionsToken(connection)],
        useFactory: (given: HoldfastModuleOptions) => Connection.open(given),
      },
      { provide: holdfast, inject: [held], useFactory: (opened: Connection) => opened.holdfast },
      {
        provide: getProcessorsToken(connection),
        inject: [held, DiscoveryService],
        useFactory: (opened: Connection, discovery: DiscoveryService) => new Processors(connection, opened, discovery),
      },
      {
        provide: HoldfastHealthIndicator,
        inject: [ModuleRef],
        useFactory: (moduleRef: ModuleRef) => new HoldfastHealthIndicator(moduleRef),
      },
    ],
    exports: [holdfast, HoldfastHealthIndicator],
  };
}

function optionsProvider(provide: string, options: HoldfastRootAsyncOptions): Provider {
  const { useFactory, inject = [], useClass, useExisting } = options;
  if ([useFactory, useClass, useExisting].filter((given) => given !== undefined).length !== 1) {
    throw new TypeError('Cannot use these options of "forRootAsync": give one of useFactory, useClass and useExisting');
  }
  if (useFactory !== undefined) return { provide, useFactory, inject };
  return {
    provide,
    inject: [(useClass ?? useExisting) as NonNullable<typeof useClass>],
    useFactory: (factory: HoldfastOptionsFactory) => factory.createHoldfastOptions(),
  };
}
