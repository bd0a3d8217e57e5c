import type { Store } from '#holdfast/store/store.js';

type Range = ReturnType<Store['range']>;

/** The store, whose second range, the body of a load, is changed. */
export function withBodyOfLoad(store: Store, change: (body: Range) => Range): Store {
  let ranges = 0;
  return new Proxy(store, {
    get(target, name) {
      const own = Reflect.get(target, name, target) as unknown;
      if (name !== 'range') return typeof own === 'function' ? (own.bind(target) as unknown) : own;
      ranges += 1;
      const isBody = ranges === 2;
      return (...args: Parameters<Store['range']>) => {
        const range = target.range(...args);
        return isBody ? change(range) : range;
      };
    },
  });
}
