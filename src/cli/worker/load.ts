/** Loading a FILE: the module as it is, and what it exports for a worker. */
import { pathToFileURL } from 'node:url';
import type { Holdfast } from '../../api/holdfast.ts';

/**
 * Imports a module and calls the functions that it exports for a worker with an instance: the default export, and those whose
 * names say `consume…`. Consumers that it exports run already, and so do those that it opens by itself.
 */
export async function loadFile(file: string, instance: () => Promise<Holdfast>): Promise<void> {
  const exported = (await import(pathToFileURL(file).href)) as Readonly<Record<string, unknown>>;
  const isForWorker = (name: string): boolean => name === 'default' || /^consume(?![a-z])/.test(name);
  const functions = new Set(Object.keys(exported).flatMap((name) => (isForWorker(name) ? [exported[name]] : [])));
  for (const value of functions) {
    if (typeof value === 'function') await (value as (hf: Holdfast) => unknown)(await instance());
  }
  // A consumer that could not be opened is a reason not to go on.
  await Promise.all(Object.values(exported).filter((value) => value instanceof Promise));
}
