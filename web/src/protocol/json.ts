/**
 * Strict JSON (docs/protocol.md, JSON).
 *
 * `JSON.parse` takes a key twice, floats and lone surrogates in silence. Relay and clients must
 * agree to the byte on what is well-formed, so this reads by the same rules as ofcd's codec.
 */

import { fromUtf8, utf8 } from "./bytes.ts";
import { Malformed } from "./codes.ts";
import { INT_MAX, JSON_DEPTH } from "./limits.ts";

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export type JsonObject = { readonly [key: string]: Json };

const bad = (sentence: string) => new Malformed("bad_record", sentence);

const SPACE = /[ \t\n\r]*/y;
const WORD = /true|false|null/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// Control characters stand in no JSON text unescaped.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it refuses
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  document(): Json {
    const value = this.value(0);
    this.match(SPACE);
    if (this.at !== this.text.length) throw bad("this is not JSON");
    return value;
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  private next(): string | undefined {
    this.match(SPACE);
    return this.text[this.at];
  }

  private take(mark: string): boolean {
    if (this.next() !== mark) return false;
    this.at += 1;
    return true;
  }

  private value(depth: number): Json {
    switch (this.next()) {
      case "{":
        return this.object(deeper(depth));
      case "[":
        return this.array(deeper(depth));
      case '"':
        return this.string();
      default:
        return this.scalar();
    }
  }

  private object(depth: number): JsonObject {
    const found = new Map<string, Json>();
    this.at += 1;
    if (!this.take("}")) {
      do {
        if (this.next() !== '"') throw bad("this is not JSON");
        const key = this.string();
        if (!this.take(":")) throw bad("this is not JSON");
        if (found.has(key)) throw bad("a JSON key stands twice");
        found.set(key, this.value(depth));
      } while (this.take(","));
      if (!this.take("}")) throw bad("this is not JSON");
    }
    // Without a prototype "__proto__" is a key like any other.
    return Object.assign(Object.create(null), Object.fromEntries(found));
  }

  private array(depth: number): readonly Json[] {
    const found: Json[] = [];
    this.at += 1;
    if (this.take("]")) return found;
    do found.push(this.value(depth));
    while (this.take(","));
    if (!this.take("]")) throw bad("this is not JSON");
    return found;
  }

  private string(): string {
    const found = this.match(STRING);
    if (found === undefined) throw bad("this is not JSON");
    const text = JSON.parse(found) as string;
    if (text.includes("\0") || !text.isWellFormed()) {
      throw bad("a JSON text holds a NUL or half a character");
    }
    return text;
  }

  private scalar(): Json {
    const word = this.match(WORD);
    if (word !== undefined) return JSON.parse(word) as Json;
    const number = this.match(NUMBER);
    if (number === undefined) throw bad("this is not JSON");
    if (/[.eE]/.test(number)) throw bad("JSON numbers here are whole numbers");
    const value = Number(number);
    if (value < 0 || value > INT_MAX) throw bad("a JSON number is out of range");
    return value === 0 ? 0 : value;
  }
}

function deeper(depth: number): number {
  if (depth >= JSON_DEPTH) throw bad(`JSON is nested deeper than ${JSON_DEPTH}`);
  return depth + 1;
}

/** The object in `raw`, checked against every rule; else `Malformed`. */
export function parseJson(raw: Uint8Array, maxBytes: number): JsonObject {
  if (raw.length > maxBytes) {
    throw new Malformed("too_large", `${raw.length} bytes of JSON where ${maxBytes} are allowed`);
  }
  const value = new Reader(fromUtf8(raw)).document();
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad("the JSON is not an object");
  }
  return value as JsonObject;
}

/** `value` as compact UTF-8 JSON. */
export const dumpJson = (value: JsonObject): Uint8Array => utf8(JSON.stringify(value));
