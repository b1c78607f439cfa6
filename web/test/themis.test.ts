/** What Python sealed, boxed and signed opens here, and nothing once it was changed. */

import { describe, expect, test } from "vitest";

import { fromHex, hex, utf8 } from "../src/protocol/bytes.ts";
import * as themis from "../src/themis/index.ts";
import { type Vector, vectors } from "./vectors.ts";

const sealed = vectors("sealed");
const keys = vectors("keys");
const symmetric = fromHex(keys.symmetric);

const flipped = (raw: Uint8Array, at: number) =>
  raw.map((byte, index) => (index === at ? byte ^ 1 : byte));

describe("cells", () => {
  test.each<Vector>(sealed.cells)("$plaintext", (one) => {
    const [raw, context] = [fromHex(one.sealed), fromHex(one.context)];
    expect(hex(themis.unseal(symmetric, raw, context))).toBe(one.plaintext);
    expect(() => themis.unseal(symmetric, flipped(raw, raw.length - 1), context)).toThrow(
      themis.CannotOpen,
    );
    expect(() => themis.unseal(symmetric, raw, flipped(context, 0))).toThrow(themis.CannotOpen);
  });

  test("a key, a context and a text of the wrong size are the caller's mistake", () => {
    const [key, context] = [new Uint8Array(32), new Uint8Array(32)];
    expect(() => themis.seal(key.subarray(1), utf8("x"), context)).toThrow(/32 bytes/);
    expect(() => themis.seal(key, utf8("x"), context.subarray(1))).toThrow(/32 bytes/);
    expect(() => themis.seal(key, utf8(""), context)).toThrow(/empty/);
  });

  test("a passphrase opens what it sealed, another does not", () => {
    const made = themis.sealWithPassphrase("so geheim", utf8("the key"));
    expect(themis.unsealWithPassphrase("so geheim", made)).toEqual(utf8("the key"));
    expect(() => themis.unsealWithPassphrase("geheim", made)).toThrow(themis.CannotOpen);
  });
});

describe("signatures", () => {
  const ana = fromHex(keys.members.ana.sign.public);
  const bo = fromHex(keys.members.bo.sign.public);

  test.each<Vector>(sealed.signatures)("$what", (one) => {
    const envelope = fromHex(one.envelope);
    expect(themis.verify(ana, envelope)).toEqual(utf8(one.payload));
    expect(() => themis.verify(bo, envelope)).toThrow(themis.BadSignature);
    expect(() => themis.verify(ana, flipped(envelope, 20))).toThrow(themis.BadSignature);
    expect(() => themis.verify(ana, envelope.subarray(0, 40))).toThrow(themis.BadSignature);
  });

  test("what is signed here verifies here", () => {
    const pair = themis.generateKeyPair();
    expect(themis.verify(pair.public, themis.sign(pair.private, utf8("words")))).toEqual(
      utf8("words"),
    );
  });
});

describe("boxes", () => {
  const { ana, bo } = keys.members;

  test.each<Vector>(sealed.boxes)("$purpose", (one) => {
    const raw = fromHex(one.box);
    const [to, from] = [fromHex(bo.encrypt.private), fromHex(ana.encrypt.public)];
    expect(hex(themis.unbox(to, from, raw))).toContain(hex(utf8(`OFC1:box:${one.purpose}\n`)));
    expect(() => themis.unbox(to, from, flipped(raw, raw.length - 1))).toThrow(themis.CannotOpen);
    expect(() => themis.unbox(to, from, Uint8Array.from([...raw, 0]))).toThrow(themis.CannotOpen);
  });
});

test("a point off the curve is no key", () => {
  const pair = themis.generateKeyPair();
  expect(themis.isOnCurve(pair.public)).toBe(true);
  const off = keys.off_curve ? fromHex(keys.off_curve) : flipped(pair.public, 44);
  expect(themis.isOnCurve(off)).toBe(false);
});
