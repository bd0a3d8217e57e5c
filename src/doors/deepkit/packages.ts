/** Deepkit's packages, as far as they are installed: the door works without any of them. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type * as App from '@deepkit/app';
import type * as Broker from '@deepkit/broker';
import type * as Framework from '@deepkit/framework';
import type * as Type from '@deepkit/type';

export interface Packages {
  readonly '@deepkit/app': typeof App;
  readonly '@deepkit/broker': typeof Broker;
  readonly '@deepkit/framework': typeof Framework;
  readonly '@deepkit/type': typeof Type;
}

type Name = keyof Packages;

/** A package, or why it cannot be loaded. */
export type Loaded<Package> =
  | { readonly package: Package; readonly error?: undefined }
  | { readonly package?: undefined; readonly error: unknown };

const require = createRequire(import.meta.url);
const loaded = new Map<Name, Loaded<never>>();
let isCommonJs = false;

/**
 * Takes Deepkit's packages as CommonJS. Each has two copies of itself, which know nothing of each other's types and providers: the door
 * has to use that of the application, and what the application loaded the door as is what it loads Deepkit as.
 */
export function useCommonJs(): void {
  isCommonJs = true;
}

/** Loads a package at once: the base of a class cannot be awaited where CommonJS loads the door. */
export function load<Of extends Name>(name: Of): Loaded<Packages[Of]> {
  const found = loaded.get(name) ?? loadNew(name);
  loaded.set(name, found);
  return found;
}

function loadNew(name: Name): Loaded<never> {
  try {
    const path = isCommonJs ? name : fileURLToPath(import.meta.resolve(name));
    return { package: require(path) as never };
  } catch (error) {
    return { error };
  }
}
