/** Bodies, boxes, invites and names as Python makes and reads them, on the shared vectors. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { BodyInvalid, BUCKETS, decodeBody, encodeBody, kindOf } from "../src/e2e/bodies.ts";
import { BoxRejected, openBox, type Purpose, purposes, sealBox } from "../src/e2e/boxes.ts";
import { inviteLink, inviteText, LinkInvalid, parseLink, proofOf } from "../src/e2e/invites.ts";
import { memberKeys } from "../src/e2e/keys.ts";
import { displayName } from "../src/e2e/names.ts";
import { fromHex, fromUtf8, hex, utf8 } from "../src/protocol/bytes.ts";
import { Malformed } from "../src/protocol/codes.ts";
import { writeFields } from "../src/protocol/schema.ts";
import { plain, type Vector, vectors } from "./vectors.ts";

const pair = (raw: Vector) => ({ private: fromHex(raw.private), public: fromHex(raw.public) });
const member = (name: string) => {
  const found = vectors("keys").members[name];
  return memberKeys(pair(found.sign), pair(found.encrypt));
};
const party = (name: string) => {
  const keys = member(name);
  return { mid: keys.mid, encKey: keys.encrypt.public };
};

describe("bodies", () => {
  const shared = vectors("bodies");

  test("the sizes are the shared ones", () => {
    expect(BUCKETS).toEqual(shared.buckets);
  });

  test.each<Vector>(shared.valid)("$json.type", (one) => {
    const body = decodeBody(utf8(JSON.stringify(one.json)));
    expect(kindOf(body.content)).toBe(one.kind);
    const padded = encodeBody(body);
    expect(padded.length).toBe(one.padded);
    expect(plain(JSON.parse(fromUtf8(padded)))).toEqual(one.json);
  });

  test.each<Vector>(shared.unknown)("a type from the future is kept: $type", (one) => {
    const { content } = decodeBody(utf8(one.json));
    expect(content).toMatchObject({ type: "unknown", of: one.type });
  });

  test.each<Vector>(shared.invalid)("refused: $why", (one) => {
    expect(() => decodeBody(utf8(one.json))).toThrow(
      expect.objectContaining({ name: "Malformed", code: one.code }),
    );
  });

  test("what nobody could read is not sent", () => {
    const [first] = shared.valid as [Vector];
    const body = decodeBody(utf8(JSON.stringify(first.json)));
    const saying = (text: string) => ({ ...body, content: { ...body.content, text } as never });
    expect(() => encodeBody(saying("half a \ud800"))).toThrow(BodyInvalid);
    expect(() => encodeBody(saying("\0"))).toThrow(BodyInvalid);
    expect(() => encodeBody(saying("x".repeat(50_000)))).toThrow(/49152 are allowed/);
  });
});

describe("boxes", () => {
  const [ana, bo] = [member("ana"), member("bo")];
  const boxes = vectors("sealed").boxes as Vector[];

  test.each(boxes)("$purpose opens to its fields", (one) => {
    const purpose = one.purpose as Purpose;
    const content = openBox(purpose, bo, party("ana"), fromHex(one.room), fromHex(one.box));
    expect(
      plain(writeFields<Record<string, never>>(purposes[purpose] as never, content as never)),
    ).toEqual(one.fields);
    const again = sealBox(purpose, ana, party("bo"), fromHex(one.room), content);
    expect(openBox(purpose, bo, party("ana"), fromHex(one.room), again)).toEqual(content);
  });

  test.each(boxes)("$purpose is nothing else", (one) => {
    const [room, raw] = [fromHex(one.room), fromHex(one.box)];
    for (const other of Object.keys(purposes) as Purpose[]) {
      if (other === one.purpose) continue;
      expect(() => openBox(other, bo, party("ana"), room, raw)).toThrow(/another purpose/);
    }
    const purpose = one.purpose as Purpose;
    expect(() => openBox(purpose, bo, party("ana"), new Uint8Array(32), raw)).toThrow(
      /another room/,
    );
    expect(() => openBox(purpose, ana, party("bo"), room, raw)).toThrow(/another sender/);
    expect(() => openBox(purpose, bo, party("cy"), room, raw)).toThrow(BoxRejected);
    expect(() =>
      openBox(purpose, bo, { ...party("ana"), mid: party("cy").mid }, room, raw),
    ).toThrow(/another sender/);
  });
});

describe("invites", () => {
  const shared = vectors("invites");

  test.each<Vector>(shared.valid)("$relay_url", (one) => {
    for (const form of [
      one.text,
      one.link,
      `<${one.link}>`,
      ` ${one.text.slice(0, 9)}\n${one.text.slice(9)}`,
    ]) {
      const code = parseLink(form);
      expect(code.relayUrl).toBe(one.relay_url);
      expect(hex(code.token)).toBe(one.token);
      expect(hex(code.room)).toBe(one.room);
      expect(hex(proofOf(code))).toBe(one.proof);
      expect(inviteText(code)).toBe(one.text);
      expect(inviteLink(code)).toBe(one.link);
    }
  });

  test.each<Vector>(shared.invalid)("refused: $sentence", (one) => {
    expect(() => parseLink(one.text)).toThrow(new LinkInvalid(one.sentence));
  });

  test("whatever a link or a QR code holds is an invite, or said to be none", () => {
    const { text } = shared.valid[0] as { text: string };
    const odd = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.string().map((end) => `https://a.example/#ofc1:${end}`),
      fc
        .tuple(fc.nat(text.length), fc.string({ maxLength: 3 }))
        .map(([at, put]) => text.slice(0, at) + put + text.slice(at + 1)),
      fc.constantFrom("#", "ofc1:", "<", "#ofc1:#ofc1:", `${"<".repeat(4_000)}x`, "9".repeat(1e6)),
    );
    const read = (from: string) => {
      try {
        return parseLink(from) && undefined;
      } catch (error) {
        return error;
      }
    };
    fc.assert(
      fc.property(odd, (from) => {
        const error = read(from);
        expect(error === undefined || error instanceof LinkInvalid).toBe(true);
      }),
    );
  });

  test("an address that is none", () => {
    const code = parseLink(shared.valid[0].text);
    for (const relayUrl of [
      "http://x",
      "wss://",
      "wss://x:0",
      "wss://a b",
      "wss://x@y",
      "wss://é",
    ]) {
      expect(() => parseLink(inviteText({ ...code, relayUrl }))).toThrow(LinkInvalid);
    }
  });
});

test.each<Vector>(vectors("names").display)("the name $raw", (one) => {
  expect(displayName(one.raw)).toBe(one.shown);
});

test("Malformed is what a decoder throws", () => {
  expect(() => decodeBody(utf8("{}"))).toThrow(Malformed);
});
