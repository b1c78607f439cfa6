/** What a field may be, once for reading, writing and the type checker. */

import { b64decode, b64encode } from "./bytes.ts";
import { Malformed } from "./codes.ts";
import { checkPublicKey } from "./ids.ts";
import type { Json, JsonObject } from "./json.ts";

/** A kind of field: from JSON (`Malformed` if it does not fit) and to JSON. */
export interface Kind<T> {
  read(value: Json): T;
  write(value: T): Json;
}

/** A field that may be left out; then it stands at `absent`. */
export interface Optional<T> {
  readonly kind: Kind<T>;
  readonly absent: T;
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds kinds of anything; `Infer` has the types
type Field = Kind<any> | Optional<any>;
export type Fields = { readonly [name: string]: Field };

type ValueOf<F> = F extends Kind<infer T> ? T : F extends Optional<infer T> ? T : never;
export type Infer<F> = { readonly [name in keyof F]: ValueOf<F[name]> };

const refuse = (what: string) => new Malformed("bad_record", `a field is not ${what}`);

function plain<T extends Json>(type: string, fits: (value: Json) => value is T): Kind<T> {
  return {
    read(value) {
      if (!fits(value)) throw refuse(`of type ${type}`);
      return value;
    },
    write: (value) => value,
  };
}

const isInt = (value: Json): value is number => typeof value === "number";
const isText = (value: Json): value is string => typeof value === "string";

export const bool = plain("bool", (value): value is boolean => typeof value === "boolean");

/** A whole number, within bounds. JSON of ours has no other numbers. */
export const int = (low = 0, high = Number.MAX_SAFE_INTEGER): Kind<number> =>
  plain("int", (value): value is number => isInt(value) && value >= low && value <= high);

/** A text of at most so many characters (code points, as everywhere in OFC/1). */
export const text = (most = Number.MAX_SAFE_INTEGER): Kind<string> =>
  plain(
    "text",
    (value): value is string =>
      isText(value) && (value.length <= most || [...value].length <= most),
  );

/** A text of some form. */
export const textThat = (fits: (text: string) => boolean): Kind<string> =>
  plain("text", (value): value is string => isText(value) && fits(value));

/** One of a few words. */
export const word = <W extends string>(...words: readonly W[]): Kind<W> =>
  plain(
    "word",
    (value): value is W => isText(value) && (words as readonly string[]).includes(value),
  );

/** A word that a later version may have made: kept as it stands. */
export const openWord = (form: RegExp): Kind<string> =>
  plain("word", (value): value is string => isText(value) && form.test(value));

function base64(check: (raw: Uint8Array) => Uint8Array): Kind<Uint8Array> {
  return {
    read(value) {
      if (!isText(value)) throw refuse("base64url text");
      return check(b64decode(value));
    },
    write: b64encode,
  };
}

const sized = (size: number) =>
  base64((raw) => {
    if (raw.length !== size) throw refuse(`${size} bytes long`);
    return raw;
  });

export const b32 = sized(32);
export const b16 = sized(16);
export const key = base64(checkPublicKey);
export const bytes = (most = Number.MAX_SAFE_INTEGER): Kind<Uint8Array> =>
  base64((raw) => {
    if (raw.length > most) throw refuse(`at most ${most} bytes long`);
    return raw;
  });

export function list<T>(
  of: Kind<T>,
  most = Number.MAX_SAFE_INTEGER,
  least = 0,
): Kind<readonly T[]> {
  return {
    read(value) {
      if (!Array.isArray(value) || value.length > most || value.length < least) {
        throw refuse("a list of the right length");
      }
      return value.map((item) => of.read(item));
    },
    write: (value) => value.map((item) => of.write(item)),
  };
}

export function pair<A, B>(first: Kind<A>, second: Kind<B>): Kind<readonly [A, B]> {
  return {
    read(value) {
      if (!Array.isArray(value) || value.length !== 2) throw refuse("a list of 2");
      return [first.read(value[0] as Json), second.read(value[1] as Json)];
    },
    write: ([a, b]) => [first.write(a), second.write(b)],
  };
}

export function optional<T>(kind: Kind<T>, absent: T): Optional<T>;
export function optional<T>(kind: Kind<T>): Optional<T | undefined>;
export function optional<T>(kind: Kind<T>, absent?: T): Optional<T | undefined> {
  return { kind: kind as Kind<T | undefined>, absent };
}

const isOptional = (field: Kind<unknown> | Optional<unknown>): field is Optional<unknown> =>
  "kind" in field;

const entries = (fields: Fields) =>
  Object.entries(fields) as [string, Kind<unknown> | Optional<unknown>][];

/** The fields in `json`, each checked; what is not known is passed over. */
export function readFields<F extends Fields>(fields: F, json: JsonObject): Infer<F> {
  const found: Record<string, unknown> = {};
  for (const [name, field] of entries(fields)) {
    const value = json[name];
    if (isOptional(field)) {
      found[name] = value === undefined ? field.absent : orAbsent(field, value);
    } else if (value === undefined) {
      throw new Malformed("bad_record", `the field '${name}' is missing`);
    } else {
      found[name] = field.read(value);
    }
  }
  return found as Infer<F>;
}

/** `null` is how some JSON writers leave a field out that has no default value. */
function orAbsent(field: Optional<unknown>, value: Json): unknown {
  return value === null && field.absent === undefined ? undefined : field.kind.read(value);
}

/** The JSON of `values`, without what stands at its default. */
export function writeFields<F extends Fields>(fields: F, values: Infer<F>): JsonObject {
  const json: Record<string, Json> = {};
  for (const [name, field] of entries(fields)) {
    const value = (values as Record<string, unknown>)[name];
    if (!isOptional(field)) {
      json[name] = field.write(value);
    } else if (value !== undefined && !isAbsent(field, value)) {
      json[name] = field.kind.write(value);
    }
  }
  return json;
}

function isAbsent(field: Optional<unknown>, value: unknown): boolean {
  if (field.absent === undefined) return false;
  const { write } = field.kind;
  return JSON.stringify(write(value)) === JSON.stringify(write(field.absent));
}

/** An object inside another. */
export function object<F extends Fields>(fields: F): Kind<Infer<F>> {
  return {
    read(value) {
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw refuse("an object");
      }
      return readFields(fields, value as JsonObject);
    },
    write: (value) => writeFields(fields, value),
  };
}
