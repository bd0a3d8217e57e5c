/** Runtime types of Deepkit's compiler as Standard Schemas: what a channel's messages are checked by, and stored as. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { EmptySerializer, TemplateRegistry, Type, ValidationErrorItem } from '@deepkit/type';
import { load, type Packages } from './packages.ts';

type TypePackage = Packages['@deepkit/type'];

/** Both sides of a channel. */
export interface Schemas {
  /** Checks what is produced, and leaves of it what the type names, as plain data. */
  readonly produced: StandardSchemaV1 | undefined;
  /** Makes of plain data what the type says, instances of classes too, and checks that. */
  readonly consumed: StandardSchemaV1 | undefined;
}

/** What a runtime type may come as. */
type Received = Parameters<TypePackage['resolveReceiveType']>[0];

interface Codec {
  readonly validate: (value: unknown) => ValidationErrorItem[];
  readonly toPlain: (value: unknown) => unknown;
  readonly fromPlain: (value: unknown) => unknown;
}

/** A container whose items have types of their own. */
type Container = Type & { readonly arguments?: readonly Type[]; readonly typeArguments?: readonly Type[] };

export const NO_SCHEMAS: Schemas = { produced: undefined, consumed: undefined };

let hasSaidSo = false;
let serializer: EmptySerializer | undefined;

/**
 * The schemas of a runtime type, in any form in which Deepkit's compiler or `typeOf` gives it. Where there is none, says so once.
 *
 * @param channel for what is said
 */
export function schemasOf(received: unknown, channel: string): Schemas {
  const codec = codecOf(received);
  if (typeof codec === 'string') {
    sayOnce(channel, codec);
    return NO_SCHEMAS;
  }
  return {
    produced: schemaOf((value) => issuesOf(codec.validate(value)) ?? { value: codec.toPlain(value) }),
    consumed: schemaOf((value) => {
      const message = codec.fromPlain(value);
      return issuesOf(codec.validate(message)) ?? { value: message };
    }),
  };
}

/** @returns a text that says why there is none */
function codecOf(received: unknown): Codec | string {
  if (received === undefined || received === null)
    return 'it was made without a type, or compiled without the type compiler of Deepkit';
  const { package: types } = load('@deepkit/type');
  if (types === undefined) return '"@deepkit/type" cannot be loaded';
  let type: Type;
  try {
    type = types.resolveReceiveType(received as Received);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  if (type.kind === types.ReflectionKind.any || type.kind === types.ReflectionKind.unknown) {
    return 'its type is any or unknown, or was imported from where the type compiler of Deepkit was not';
  }
  serializer ??= createSerializer(types);
  return {
    validate: types.validateFunction(undefined, type),
    toPlain: types.serializeFunction(serializer, undefined, type),
    fromPlain: types.deserializeFunction(serializer, undefined, type),
  };
}

function sayOnce(channel: string, reason: string): void {
  if (hasSaidSo) return;
  hasSaidSo = true;
  process.emitWarning(`Messages of "${channel}" are not validated: it has no runtime type`, {
    type: 'HoldfastWarning',
    detail: `${reason}. This is said once`,
  });
}

/**
 * Instances become plain data and the other way round, at any depth. Dates, bigints, bytes, Maps and Sets stay what they are, for the codec of
 * Holdfast has them all, bigints of any size too; Deepkit's own would cut those to 64 bits.
 */
function createSerializer(types: TypePackage): EmptySerializer {
  const created = new types.EmptySerializer('holdfast');
  const both: [TemplateRegistry, ItemConverter][] = [
    [created.serializeRegistry, (type) => types.serializeFunction(created, undefined, type)],
    [created.deserializeRegistry, (type) => types.deserializeFunction(created, undefined, type)],
  ];
  for (const [registry, converter] of both) {
    // What its compiler makes of a global type that it does not find, such as Set under some `lib`; such a field would be left out.
    registry.register(types.ReflectionKind.never, (_type, state) => state.addSetter(state.accessor));
    registry.registerClass(Set, (type, state) => {
      const [item] = itemsOf(type, converter);
      if (item !== undefined) state.convert((value: Set<unknown>) => new Set([...value].map(item)));
    });
    registry.registerClass(Map, (type, state) => {
      const [key, item] = itemsOf(type, converter);
      if (key === undefined || item === undefined) return;
      state.convert((value: Map<unknown, unknown>) => new Map([...value].map(([k, v]) => [key(k), item(v)])));
    });
  }
  return created;
}

type ItemConverter = (type: Type) => (value: unknown) => unknown;

function itemsOf(type: Container, converter: ItemConverter): ((value: unknown) => unknown)[] {
  return (type.arguments ?? type.typeArguments ?? []).map(converter);
}

function schemaOf(validate: (value: unknown) => StandardSchemaV1.Result<unknown>): StandardSchemaV1 {
  const guarded = (value: unknown): StandardSchemaV1.Result<unknown> => {
    try {
      return validate(value);
    } catch (error) {
      // What is far from its type fails where it is converted.
      return { issues: [{ message: error instanceof Error ? error.message : String(error) }] };
    }
  };
  return { '~standard': { version: 1, vendor: 'deepkit', validate: guarded } };
}

function issuesOf(errors: readonly ValidationErrorItem[]): StandardSchemaV1.FailureResult | undefined {
  if (errors.length === 0) return undefined;
  return {
    issues: errors.map(({ path, message }) => (path === '' ? { message } : { message, path: path.split('.') })),
  };
}
