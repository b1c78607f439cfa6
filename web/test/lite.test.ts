/** Text format lite: the trees that Python makes; never an exception; linear time. */

import fc from "fast-check";
import { expect, test } from "vitest";

import { type Document, parse } from "../src/e2e/lite/index.ts";
import { b64decode, hex } from "../src/protocol/bytes.ts";
import { type Vector, vectors } from "./vectors.ts";

const shared = vectors("lite");
const mentioned = shared.mentioned as { member: string; name: string }[];

/** Members stand in the vectors as in JSON of ours, or in hex. */
const memberHex = (member: string) =>
  /^[0-9a-f]{64}$/.test(member) ? member : hex(b64decode(member));

test.each<Vector>(shared.cases)("$of: $text", (one) => {
  const names = mentioned.map(({ member, name }) => ({ member: memberHex(member), name }));
  expect(parse(one.text, names)).toEqual(one.tree);
});

const depthOf = (document: Document): number =>
  Math.max(
    0,
    ...document.map((block) => {
      if (block.type === "quote") return 1 + depthOf(block.blocks);
      if ("items" in block) return 1 + Math.max(0, ...block.items.map(depthOf));
      return 0;
    }),
  );

test("any text is a document, of bounded depth", () => {
  const character = fc.constantFrom(..."*_~`[]()@>-1. \\\nhttps://a.b mailto:");
  fc.assert(
    fc.property(fc.string({ unit: fc.oneof(character, fc.string({ maxLength: 3 })) }), (text) => {
      expect(depthOf(parse(text, mentioned))).toBeLessThanOrEqual(4);
    }),
  );
});

test.each([
  "*",
  "_",
  "~",
  "`",
  "[",
  "> ",
  "- ",
  "[](",
  "**a",
  "``a`",
  "@Ana",
  "https://a.b/(",
  "```\n",
  " ",
  "> > ",
  "https://",
  "a\t",
])("48 KiB of %j are read in linear time, alone and between letters", (piece) => {
  const milliseconds = (size: number) => {
    const text = piece.repeat(size / piece.length);
    const started = performance.now();
    for (let round = 0; round < 3; round += 1) {
      parse(text, mentioned);
      parse(`x${text}x`, mentioned);
    }
    return performance.now() - started;
  };
  milliseconds(1024);
  expect(milliseconds(48 * 1024)).toBeLessThan(2_000);
});
