/** The words with which a value is refused: what it is, where it is, and what to do instead. */
import { types } from 'node:util';

/** One step into a container: the container and the key under which it holds the next one. */
export type Step = readonly [container: object, key: string | number];

const LONGEST_KEY = 40;
const LONGEST_PATH = 200;

/** The error for a value that cannot be stored. `steps` lead from the root to it. */
export function refusal(value: unknown, steps: readonly Step[]): TypeError {
  const [what, remedy] = describe(value);
  return new TypeError(`Cannot encode ${what}${at(steps)}: ${remedy}`);
}

/** The error for an array with a hole, or with properties besides its items. */
export function arrayRefusal(array: readonly unknown[], steps: readonly Step[]): TypeError {
  const named = Object.keys(array).find((key) => String(Number(key) >>> 0) !== key);
  if (named !== undefined) {
    return new TypeError(
      `Cannot encode the property ${quote(named)} of the array${at(steps)}: only the items of an array can be stored`,
    );
  }
  let hole = 0;
  while (Object.hasOwn(array, hole)) hole++;
  return new TypeError(`Cannot encode a hole${at([...steps, [array, hole]])}: store undefined or null instead`);
}

/** The error for properties on a value that is not a plain object, and for symbols as keys on any value. */
export function propertyRefusal(value: object, steps: readonly Step[]): TypeError {
  const [symbol] = Object.getOwnPropertySymbols(value);
  return symbol === undefined
    ? new TypeError(`Cannot encode a ${classOf(value)} with properties of its own${at(steps)}: store them beside it`)
    : new TypeError(`Cannot encode the key ${String(symbol)}${within(steps)}: only strings can be keys`);
}

/** The error for a key that cannot be stored. */
export function keyRefusal(key: string, steps: readonly Step[]): TypeError {
  const reason =
    key === '__proto__'
      ? 'it would change the prototype of a copy'
      : key.includes('\0')
        ? 'it contains a NUL character'
        : 'it contains half of a surrogate pair';
  return new TypeError(`Cannot encode the key ${quote(key)}${within(steps)}: ${reason}, use a Map instead`);
}

/** The error for bytes that were moved to another thread. */
export function detachedRefusal(steps: readonly Step[]): TypeError {
  return new TypeError(`Cannot encode bytes${at(steps)}: their buffer was transferred, store a copy made before that`);
}

/** The error for an object that contains itself. */
export function circularRefusal(steps: readonly Step[]): TypeError {
  return new TypeError(`Cannot encode a circular reference${at(steps)}: store an id in its place`);
}

/** The error for a value that takes too many bytes. */
export function sizeRefusal(maxBytes: number, steps: readonly Step[]): RangeError {
  return new RangeError(`Cannot encode more than ${maxBytes} bytes${reached(steps)}: store a reference to the data`);
}

/** The error for a value that nests too deep. */
export function depthRefusal(maxDepth: number, steps: readonly Step[]): RangeError {
  return new RangeError(`Cannot encode more than ${maxDepth} levels${reached(steps)}: store a flatter structure`);
}

/** The error for more numbers as keys of Maps and items of Sets than can be decoded safely. */
export function hashedNumbersRefusal(most: number, steps: readonly Step[]): RangeError {
  return new RangeError(`Cannot encode more than ${most} numbers in Maps and Sets${reached(steps)}: store an array`);
}

/** A path such as `a.b[3]`; `<key 0>`, `<value 0>` and `<item 0>` are entries of a Map and of a Set, by their order. */
function pathOf(steps: readonly Step[]): string {
  const path = steps.map(([container, key], index) => stepText(container, key, index === 0)).join('');
  return path.length > LONGEST_PATH ? `${path.slice(0, LONGEST_PATH)}…` : path;
}

function stepText(container: object, key: string | number, isFirst: boolean): string {
  if (types.isMap(container)) return `<${Number(key) % 2 === 0 ? 'key' : 'value'} ${Math.floor(Number(key) / 2)}>`;
  if (types.isSet(container)) return `<item ${key}>`;
  if (typeof key === 'number') return `[${key}]`;
  if (/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key)) return isFirst ? short(key) : `.${short(key)}`;
  return `[${quote(key)}]`;
}

function at(steps: readonly Step[]): string {
  return steps.length === 0 ? '' : ` at "${pathOf(steps)}"`;
}

function reached(steps: readonly Step[]): string {
  return steps.length === 0 ? '' : `, reached at "${pathOf(steps)}"`;
}

function within(steps: readonly Step[]): string {
  return steps.length === 0 ? '' : ` of "${pathOf(steps)}"`;
}

/** A key in quotation marks, and not longer than a message should be. */
export function quote(key: string): string {
  return JSON.stringify(short(key));
}

function short(key: string): string {
  return key.length > LONGEST_KEY ? `${key.slice(0, LONGEST_KEY)}…` : key;
}

function describe(value: unknown): [what: string, remedy: string] {
  if (typeof value !== 'object' || value === null) return [`a ${typeof value}`, 'only data can be stored'];
  if (types.isDate(value) && Number.isNaN(value.getTime())) return ['an invalid Date', 'store null instead'];
  if (types.isRegExp(value)) return ['a RegExp', 'store its source and flags'];
  if (types.isPromise(value)) return ['a Promise', 'await it first'];
  if (types.isSharedArrayBuffer(value)) return ['a SharedArrayBuffer', 'store a copy of its bytes'];
  const name = classOf(value);
  if (types.isNativeError(value)) return [`an error of the class ${name}`, 'store its name, message and stack'];
  if (name === 'Object') return ['an object with a prototype of its own', 'store a plain object'];
  return [`an instance of the class ${name}`, 'store its data as a plain object'];
}

function classOf(value: object): string {
  const { constructor } = value;
  return typeof constructor === 'function' && constructor.name !== '' ? short(constructor.name) : 'without a name';
}
