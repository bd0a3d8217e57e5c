/** Holdfast in applications of Deepkit: modules that provide `BrokerQueue`, and an `App` that is told its command as a text. */
import type { App as DeepkitApp, AppModule as DeepkitModule, RootModuleDefinition } from '@deepkit/app';
import type { FrameworkModule as DeepkitFrameworkModule } from '@deepkit/framework';
import type { Holdfast } from '../../api/holdfast.ts';
import { HoldfastBrokerAdapter } from './adapter.ts';
import { drainAt } from './drain-at.ts';
import { load, type Packages } from './packages.ts';
import { BrokerQueue } from './queue.ts';

export interface HoldfastModuleOptions {
  /** Where the queue is: an instance, a URL as for `open`, or an adapter. @default what `open` takes by default */
  readonly holdfast?: Holdfast | HoldfastBrokerAdapter | string;
  /**
   * At which signals handlers are drained, and the process ends as it would have; with the next one it ends at once.
   * @default ['SIGTERM', 'SIGINT']
   */
  readonly drainOn?: readonly NodeJS.Signals[];
}

const { AppModule, App: AppOfDeepkit } = classesOf('@deepkit/app');
const { FrameworkModule: FrameworkOfDeepkit } = classesOf('@deepkit/framework');
const BaseModule: typeof DeepkitModule = AppModule;
const BaseApp: typeof DeepkitApp = AppOfDeepkit;
const BaseFramework: typeof DeepkitFrameworkModule = FrameworkOfDeepkit;

/** For `@deepkit/app` alone: an application that imports it has `BrokerQueue` in its container. */
export class HoldfastModule extends BaseModule {
  constructor(options: HoldfastModuleOptions = {}) {
    super({}, { name: 'holdfast' });
    provideQueue(this, options);
  }
}

/** The options of Deepkit's own, and where the queue is. */
export type FrameworkModuleOptions = NonNullable<ConstructorParameters<typeof DeepkitFrameworkModule>[0]> &
  HoldfastModuleOptions;

/**
 * Deepkit's own, whose `BrokerQueue` is this door's; that of `@deepkit/broker` is provided too, and is on Holdfast. What it says of a
 * `broker` is for Deepkit's cache, bus, locks and key-value store.
 */
export class FrameworkModule extends BaseFramework {
  constructor({ holdfast, drainOn, ...options }: FrameworkModuleOptions = {}) {
    super(options);
    const adapter = provideQueue(this, {
      ...(holdfast === undefined ? {} : { holdfast }),
      ...(drainOn === undefined ? {} : { drainOn }),
    });
    const { package: framework } = load('@deepkit/framework');
    if (framework !== undefined) this.addListener(framework.onServerShutdown.listen(() => adapter.disconnect()));
  }
}

/** Deepkit's own, which takes what is to be run as a text too: `app.run('consumer')`. */
export class App<T extends RootModuleDefinition> extends BaseApp<T> {
  /** @param argv the command and its arguments: a list, or a text with spaces between them; by default those of the process */
  override async run(argv?: unknown[] | string, bin?: string[]): Promise<void> {
    await super.run(typeof argv === 'string' ? argv.split(/\s+/).filter((word) => word !== '') : argv, bin);
  }
}

/** Has a module provide both kinds of queue, in place of those that it had. */
function provideQueue(
  module: DeepkitModule,
  { holdfast, drainOn = ['SIGTERM', 'SIGINT'] }: HoldfastModuleOptions,
): HoldfastBrokerAdapter {
  const queue = new BrokerQueue(holdfast);
  const { adapter } = queue;
  drainAt(drainOn, adapter);
  const ours: [token: unknown, value: unknown][] = [
    [BrokerQueue, queue],
    [HoldfastBrokerAdapter, adapter],
  ];
  const { package: broker } = load('@deepkit/broker');
  if (broker !== undefined) ours.push([broker.BrokerQueue, new broker.BrokerQueue(adapter)]);
  const tokens = new Set(ours.map(([token]) => token));
  const others = module.providers.filter((provider) => !tokens.has((provider as { provide?: unknown }).provide));
  module.providers = [...others, ...ours.map(([provide, useValue]) => ({ provide, useValue }))];
  module.exports = [...new Set([...module.exports, ...tokens])];
  return adapter;
}

/** A package whose classes are extended; without it, classes that say so when there is to be one. */
function classesOf<Name extends '@deepkit/app' | '@deepkit/framework'>(name: Name): Packages[Name] {
  const { package: found, error } = load(name);
  if (found !== undefined) return found;
  class Absent {
    constructor() {
      throw new Error(`Cannot make ${new.target.name}: "${name}" cannot be loaded; install it`, { cause: error });
    }
  }
  return new Proxy({}, { get: () => Absent }) as Packages[Name];
}
