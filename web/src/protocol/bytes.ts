/** Bytes and their text forms. */

import { Malformed } from "./codes.ts";

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const utf8 = (text: string): Uint8Array => encoder.encode(text);

/** The text in strict UTF-8; throws `Malformed`. */
export function fromUtf8(raw: Uint8Array): string {
  try {
    return strictDecoder.decode(raw);
  } catch {
    throw new Malformed("bad_record", "the JSON is not UTF-8");
  }
}

export function concat(...pieces: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

export function equal(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

export function u32be(value: number): Uint8Array {
  const raw = new Uint8Array(4);
  new DataView(raw.buffer).setUint32(0, value);
  return raw;
}

export function readU32be(raw: Uint8Array, at: number): number {
  return new DataView(raw.buffer, raw.byteOffset + at, 4).getUint32(0);
}

/** 8 bytes, big-endian. */
export function u64be(value: number | bigint): Uint8Array {
  const raw = new Uint8Array(8);
  new DataView(raw.buffer).setBigUint64(0, BigInt(value));
  return raw;
}

export function readU64be(raw: Uint8Array, at: number): bigint {
  return new DataView(raw.buffer, raw.byteOffset + at, 8).getBigUint64(0);
}

/** Lower-case hex: how people, logs and map keys see an id. */
export function hex(raw: Uint8Array): string {
  let text = "";
  for (const byte of raw) text += byte.toString(16).padStart(2, "0");
  return text;
}

export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || /[^0-9a-f]/.test(text)) throw new RangeError("not lower-case hex");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const VALUES = new Map([...ALPHABET].map((letter, value) => [letter, value]));

/** Base64url without padding: how bytes stand in the JSON of records and frames. */
export function b64encode(raw: Uint8Array): string {
  let text = "";
  let [bits, held] = [0, 0];
  for (const byte of raw) {
    bits = ((bits << 8) | byte) & 0xffff;
    held += 8;
    for (; held >= 6; held -= 6) text += ALPHABET[(bits >> (held - 6)) & 63];
  }
  return held > 0 ? text + ALPHABET[(bits << (6 - held)) & 63] : text;
}

/** The bytes of canonical base64url without padding; `Malformed` for anything else. */
export function b64decode(text: string): Uint8Array {
  const raw = new Uint8Array(Math.floor((text.length * 6) / 8));
  let [bits, held, at] = [0, 0, 0];
  for (const letter of text) {
    const value = VALUES.get(letter);
    if (value === undefined) throw new Malformed("bad_record", "a field is not base64url");
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      raw[at++] = (bits >> held) & 0xff;
    }
  }
  if (held >= 6 || (bits & ((1 << held) - 1)) !== 0) {
    throw new Malformed("bad_record", "a field is not canonical base64url");
  }
  return raw;
}
