/**
 * Objects of the platform that have no form of their own in V8: Blob, File, DOMException and CryptoKey. Each is kept as a
 * record, in the place that V8 leaves for objects of its host, as Deno does it: so Deno reads from a record of the same
 * shape what it is, errors and secret keys above all. Its Blobs are another matter: Deno keeps where their bytes are in its
 * memory, and here their bytes are kept.
 *
 * A new kind gets a `type` of its own; a changed shape gets one too, and the old one stays readable.
 */
import { subtle } from 'node:crypto';

/** What an object is kept as: nothing but what V8 clones by itself. */
export type PlatformRecord = Readonly<Record<string, unknown>> & { readonly type: string };

type CryptoKey = Parameters<typeof subtle.exportKey>[1];

/** Of a key whose bytes are at hand, and which the platform makes only in a while. */
export class StoredKey {
  readonly #record: PlatformRecord;

  constructor(record: PlatformRecord) {
    this.#record = record;
  }

  /** @throws whatever the platform has against the key */
  async import(): Promise<CryptoKey> {
    const { keyType, extractable, usages, algorithm, keyData } = this.#record as unknown as KeyRecord;
    const format = KEY_FORMATS[keyType];
    return subtle.importKey(format, keyData.data, algorithm, extractable, [...usages]);
  }
}

interface KeyRecord {
  readonly keyType: CryptoKey['type'];
  readonly extractable: boolean;
  readonly usages: CryptoKey['usages'];
  readonly algorithm: CryptoKey['algorithm'];
  readonly keyData: { readonly type: CryptoKey['type']; readonly data: Uint8Array };
}

const KEY_FORMATS = { secret: 'raw', public: 'spki', private: 'pkcs8' } as const;

const KINDS = ['DOMException', 'File', 'Blob', 'CryptoKey'] as const;

type Kind = (typeof KINDS)[number];

/** What the types of Node know in part. */
const CLASSES = globalThis as unknown as Readonly<Record<Kind, abstract new () => unknown>>;

/** The name of its class, when it is an object that V8 has no form for. */
function platformKindOf(value: unknown): Kind | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return KINDS.find((kind) => value instanceof CLASSES[kind]);
}

/** The record of an object that gives its content at once. */
export function recordOf(value: unknown): PlatformRecord | undefined {
  if (!(value instanceof DOMException)) return undefined;
  const { name, message, stack } = value;
  return { type: 'DOMException', message, name, stack };
}

/** The record of an object that gives its content in a while; `undefined` for any other value. */
export function laterRecordOf(value: unknown): Promise<PlatformRecord> | undefined {
  switch (platformKindOf(value)) {
    case 'File':
      return recordOfFile(value as File);
    case 'Blob':
      return recordOfBlob(value as Blob);
    case 'CryptoKey':
      return recordOfKey(value as CryptoKey);
    default:
      return undefined;
  }
}

/** @throws TypeError for a record that is of none of them, and for one of a Blob without its bytes */
export function objectOf(record: PlatformRecord): unknown {
  const { type, mimeType, bytes, name, lastModified } = record;
  switch (type) {
    case 'DOMException':
      return exceptionOf(record);
    case 'Blob':
      return new Blob([bytesOf(bytes)], { type: mimeType as string });
    case 'File':
      return new File([bytesOf(bytes)], name as string, {
        type: mimeType as string,
        lastModified: lastModified as number,
      });
    case 'CryptoKey':
      return new StoredKey(record);
    default:
      throw new TypeError(`There is no object of the platform of type "${type}"`);
  }
}

function exceptionOf({ name, message, stack }: PlatformRecord): DOMException {
  if (typeof name !== 'string' || typeof message !== 'string') throw new TypeError('A DOMException has two texts');
  const exception = new DOMException(message, name);
  return Object.defineProperty(exception, 'stack', { value: stack, configurable: true, writable: true });
}

function bytesOf(bytes: unknown): Uint8Array<ArrayBuffer> {
  if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes);
  throw new TypeError('The bytes of a Blob are not kept with it');
}

async function recordOfBlob(blob: Blob): Promise<PlatformRecord> {
  return { type: 'Blob', mimeType: blob.type, bytes: await blob.arrayBuffer() };
}

async function recordOfFile(file: File): Promise<PlatformRecord> {
  const { name, lastModified } = file;
  return { ...(await recordOfBlob(file)), type: 'File', name, lastModified };
}

async function recordOfKey(key: CryptoKey): Promise<PlatformRecord> {
  const { type: keyType, extractable, usages, algorithm } = key;
  if (!extractable) throw notCloned('CryptoKey');
  const data = new Uint8Array(await subtle.exportKey(KEY_FORMATS[keyType], key));
  return { type: 'CryptoKey', keyType, extractable, usages, algorithm, keyData: { type: keyType, data } };
}

/** What is said, as V8 says it, of an object that cannot be kept. */
export function notCloned(kind: string): TypeError {
  return new TypeError(`#<${kind}> could not be cloned.`);
}

/** The kind of an object of the platform within a value, of which V8 would keep nothing. */
export function platformKindWithin(value: unknown): string | undefined {
  const seen = new Set<unknown>([value]);
  for (const each of seen) {
    const kind = platformKindOf(each);
    if (kind !== undefined) return kind;
    for (const part of partsOf(each)) if (typeof part === 'object' && part !== null) seen.add(part);
  }
  return undefined;
}

function partsOf(value: unknown): Iterable<unknown> {
  if (value instanceof Map) return [...value.keys(), ...value.values()];
  if (value instanceof Set) return value;
  if (value instanceof Error) return [value.cause];
  return ArrayBuffer.isView(value) ? [] : Object.values(value as object);
}
