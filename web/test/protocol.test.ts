/** The codec agrees with Python's on every shared vector, the invalid ones by their codes. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import * as bytes from "../src/protocol/bytes.ts";
import { Malformed } from "../src/protocol/codes.ts";
import {
  clientFrames,
  decodeClientFrame,
  decodeRelayFrame,
  encodeClientFrame,
  encodeRelayFrame,
  relayFrames,
} from "../src/protocol/frames.ts";
import * as ids from "../src/protocol/ids.ts";
import { dumpJson, type JsonObject, parseJson } from "../src/protocol/json.ts";
import { splitParts } from "../src/protocol/parts.ts";
import { decodeRecord, encodeRecord, records } from "../src/protocol/records.ts";
import { fields, plain, type Vector, vectors } from "./vectors.ts";

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof Malformed) return error.code;
    throw error;
  }
  return "nothing was refused";
}

describe("ids", () => {
  const shared = vectors("ids");

  test.each<Vector>(shared.hash.concat(shared.named))("H of $tag", (one) => {
    expect(bytes.hex(ids.taggedHash(one.tag, ...fields(one.fields)))).toBe(one.hash);
  });

  test.each<Vector>(vectors("contexts").contexts)("the context of $of", (one) => {
    expect(bytes.hex(ids.taggedHash(one.tag, ...fields(one.fields)))).toBe(one.context);
  });

  test("base64url is canonical both ways", () => {
    for (const one of shared.base64url.valid) {
      expect(bytes.b64encode(bytes.fromHex(one.bytes))).toBe(one.text);
      expect(bytes.hex(bytes.b64decode(one.text))).toBe(one.bytes);
    }
    for (const { text } of shared.base64url.invalid) {
      expect(codeOf(() => bytes.b64decode(text))).toBe("bad_record");
    }
  });

  test("any bytes come back", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (raw) => {
        expect(bytes.b64decode(bytes.b64encode(raw))).toEqual(raw);
        expect(bytes.fromHex(bytes.hex(raw))).toEqual(raw);
      }),
    );
  });

  test("a key has one form", () => {
    for (const one of shared.public_keys.valid) ids.checkPublicKey(bytes.fromHex(one));
    for (const one of shared.public_keys.invalid) {
      expect(codeOf(() => ids.checkPublicKey(bytes.fromHex(one.key)))).toBe(one.code);
    }
  });
});

describe("frames", () => {
  const shared = vectors("frames");

  test.each<Vector>(shared.client)("client: $type", (one) => {
    const raw = bytes.fromHex(one.bytes);
    const frame = decodeClientFrame(raw);
    expect(frame.type).toBe(one.type);
    expect(bytes.hex(encodeClientFrame(frame))).toBe(one.bytes);
  });

  test.each<Vector>(shared.relay)("relay: $type", (one) => {
    const frame = decodeRelayFrame(bytes.fromHex(one.bytes));
    expect(frame.type).toBe(one.type);
    expect(bytes.hex(encodeRelayFrame(frame))).toBe(one.bytes);
  });

  test("every type has a vector", () => {
    const types = (side: readonly { type: string }[]) => new Set(side.map((one) => one.type));
    expect(types(shared.client)).toEqual(new Set(Object.keys(clientFrames)));
    expect(types(shared.relay)).toEqual(new Set(Object.keys(relayFrames)));
  });

  test.each<Vector>(shared.invalid)("refused: $why", (one) => {
    expect(codeOf(() => decodeClientFrame(bytes.fromHex(one.bytes)))).toBe(one.code);
  });

  test("arbitrary bytes are malformed at worst", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (raw) => {
        codeOf(() => decodeRelayFrame(raw));
        codeOf(() => decodeRecord(raw));
      }),
    );
  });
});

describe("records", () => {
  const shared = vectors("records");

  test.each<Vector>(shared.valid)("$type", (one) => {
    const payload = bytes.utf8(one.payload);
    const record = decodeRecord(payload);
    expect(record.type).toBe(one.type);
    expect(bytes.hex(ids.eventIdOf(payload))).toBe(one.event_id);
    const json = bytes.fromUtf8(encodeRecord(record)).slice(`OFC1:${one.type}\n`.length);
    expect(plain(JSON.parse(json))).toEqual(one.fields);
  });

  test("every type has a vector", () => {
    expect(new Set(shared.valid.map((one: { type: string }) => one.type))).toEqual(
      new Set(Object.keys(records)),
    );
  });

  test.each<Vector>(shared.invalid)("refused: $why", (one) => {
    expect(codeOf(() => decodeRecord(bytes.fromHex(one.payload)))).toBe(one.code);
  });
});

describe("strict JSON", () => {
  const json = (text: string) => parseJson(bytes.utf8(text), 1 << 20);

  test.each([
    ['{"a":1,"a":1}', "a key twice"],
    ['{"a":1.0}', "a float"],
    ['{"a":1e3}', "an exponent"],
    ['{"a":-1}', "less than nothing"],
    ['{"a":9007199254740992}', "2^53"],
    ['{"a":NaN}', "no number"],
    ['{"a":"\\u0000"}', "NUL"],
    ['{"a":"\\ud800"}', "half a character"],
    ['{"a":"\t"}', "a bare control character"],
    ["[1]", "no object"],
    ['{"a":1} x', "more behind"],
    ['{"a":[[[[[[[[1]]]]]]]]}', "nine deep"],
    ['{"a":01}', "a leading zero"],
    ["{'a':1}", "wrong quotes"],
    ['{"a":1,}', "a comma too many"],
    ["", "nothing"],
  ])("%s is refused (%s)", (text) => {
    expect(codeOf(() => json(text))).toBe("bad_record");
  });

  test("what JSON.parse writes and the rules allow is read", () => {
    const leaf = fc.oneof(
      fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0")),
      fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      fc.boolean(),
      fc.constant(null),
    );
    const key = fc.string().filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(fc.dictionary(key, fc.oneof(leaf, fc.array(leaf))), (value) => {
        const read = parseJson(dumpJson(value as JsonObject), 1 << 20);
        expect(plain(read)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("__proto__ is a key like any other", () => {
    const read = json('{"__proto__":{"polluted":1}}');
    expect(Object.keys(read)).toEqual(["__proto__"]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  test("parts that do not add up are refused", () => {
    expect(codeOf(() => splitParts(Uint8Array.of(0, 0, 0, 9, 1), 4))).toBe("bad_frame");
    expect(codeOf(() => splitParts(Uint8Array.of(0, 0), 4))).toBe("bad_frame");
    expect(codeOf(() => splitParts(new Uint8Array(20), 4))).toBe("bad_frame");
  });
});
