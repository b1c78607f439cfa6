/** Length-prefixed parts: how frames, messages and bulks are laid out. */

import { concat, readU32be, u32be } from "./bytes.ts";
import { Malformed } from "./codes.ts";

/** Each part after its u32be length. */
export const joinParts = (parts: Iterable<Uint8Array>): Uint8Array =>
  concat(...[...parts].flatMap((part) => [u32be(part.length), part]));

/** The parts that `joinParts` joined; `Malformed` unless they fill `raw` exactly. */
export function splitParts(raw: Uint8Array, maxParts: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  while (at < raw.length) {
    const start = at + 4;
    const end = start <= raw.length ? start + readU32be(raw, at) : Number.POSITIVE_INFINITY;
    if (end > raw.length || parts.length >= maxParts) {
      throw new Malformed("bad_frame", "the parts of a frame do not add up");
    }
    parts.push(raw.subarray(start, end));
    at = end;
  }
  return parts;
}
