/** The vectors that Python and TypeScript share: tests/vectors. */

import { readFileSync } from "node:fs";

import { fromHex } from "../src/protocol/bytes.ts";
import type { Json, JsonObject } from "../src/protocol/json.ts";

// biome-ignore lint/suspicious/noExplicitAny: each file has a shape of its own, checked by its test
export type Vector = { readonly [field: string]: any };

export const vectors = (name: string): Vector =>
  JSON.parse(readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), "utf-8"));

export const fields = (raw: readonly (string | number)[]): (Uint8Array | number)[] =>
  raw.map((field) => (typeof field === "number" ? field : fromHex(field)));

/** A JSON value with the prototypes and the order of keys that JSON.parse gives. */
export const plain = (value: Json | JsonObject): unknown => JSON.parse(JSON.stringify(value));
