/** How objects of KV are shown by the consoles of Node and of Deno. */

/** Shows what is within. */
export type Inspect = (value: unknown) => string;

type AnyInspect = (value: unknown, options: unknown) => string;

interface Shown {
  shown(inspect: Inspect): string;
}

/** Lets both consoles show objects of this prototype by their `shown`. */
export function inspectable(prototype: Shown): void {
  Object.defineProperties(prototype, {
    [Symbol.for('nodejs.util.inspect.custom')]: {
      value(this: Shown, _depth: number, options: unknown, inspect: AnyInspect): string {
        return this.shown((value) => inspect(value, options));
      },
    },
    [Symbol.for('Deno.privateCustomInspect')]: {
      value(this: Shown, inspect: AnyInspect, options: unknown): string {
        return this.shown((value) => inspect(value, options));
      },
    },
  });
}
