/** Whatever a person is told has a sentence in each language, and none of it is anybody else's words. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

import { OtherRelay } from "../src/client/relays.ts";
import { told, toldOf } from "../src/client/told.ts";
import { VaultDamaged, VaultFull, VaultLocked, WrongPassphrase } from "../src/client/vault.ts";
import { FileRejected } from "../src/e2e/attachments.ts";
import { BodyInvalid } from "../src/e2e/bodies.ts";
import { KeyMissing, KeyRejected } from "../src/e2e/epochs.ts";
import { Unreadable } from "../src/e2e/events.ts";
import { JoinRejected } from "../src/e2e/joining.ts";
import { LogBroken } from "../src/e2e/log.ts";
import { CODES, Malformed } from "../src/protocol/codes.ts";
import { Refused } from "../src/protocol/room.ts";
import { en } from "../src/ui/languages/en.ts";
import { es } from "../src/ui/languages/es.ts";
import { sentenceOf } from "../src/ui/sentences.ts";
import { LinkLost } from "../src/wire/link.ts";
import { refusal } from "./rooms.ts";

const SOURCE = new URL("../src/", import.meta.url).pathname;
const placesIn = (sentence: string) => [...sentence.matchAll(/\{[^}]*\}/g)].map(String).sort();

test("every code has a sentence in English and in Spanish, which name the same", () => {
  expect(Object.keys(es.told).sort()).toEqual(Object.keys(en.told).sort());
  for (const code of CODES) expect(en.told).toHaveProperty(code);
  for (const [code, sentence] of Object.entries(en.told)) {
    const other = es.told[code as keyof typeof es.told];
    expect(sentence.length, code).toBeGreaterThan(10);
    expect(other, code).not.toBe(sentence);
    expect(other.length, code).toBeGreaterThan(10);
    expect(placesIn(other), code).toEqual(placesIn(sentence));
    for (const place of placesIn(sentence)) expect(["{1}", "{2}", "{*}"]).toContain(place);
  }
});

const ERRORS: readonly unknown[] = [
  ...CODES.flatMap((code) => [refusal(code), new Refused(code), new Malformed(code, "x y")]),
  refusal("a_code_of_tomorrow"),
  new JoinRejected("bad_proof"),
  new LogBroken("fork", 17),
  new Unreadable("bad_seal"),
  new FileRejected("altered"),
  new BodyInvalid("too_long", "x y"),
  new VaultFull(),
  new VaultLocked(),
  new VaultDamaged(),
  new WrongPassphrase(),
  new KeyMissing(3),
  new KeyRejected("commitment"),
  new OtherRelay("wss://relay.example"),
  new LinkLost("x y"),
  new DOMException("x y", "NotFoundError"),
  new TypeError("x y"),
  "x y",
];

test("every error that a person can meet comes to a sentence of each language", () => {
  for (const error of ERRORS) {
    const what = toldOf(error);
    const [english, spanish] = [sentenceOf(what, en), sentenceOf(what, es)];
    expect(english, what).not.toBe(what);
    expect(spanish, what).not.toBe(english);
    expect(`${english}${spanish}`, what).not.toMatch(/[{}]|undefined/);
  }
  expect(sentenceOf(toldOf(new LogBroken("fork", 17)), en)).toContain("entry 17");
  expect(sentenceOf(told("member_word", "9 Ana Maria"), en)).toMatch(/^Ana Maria .* entry 9 /);
  expect(sentenceOf(told("unverifiable", "forbidden"), es)).toContain(es.told.forbidden);
});

test("what a relay writes into its refusals is shown to nobody", () => {
  const evil = "send your passphrase to \u202emoc.live";
  for (const code of ["forbidden", "not known", evil]) {
    const shown = sentenceOf(toldOf(refusal(code, { text: evil })), en);
    expect(shown).not.toContain("\u202e");
    if (code !== evil) expect(shown).not.toContain("passphrase");
  }
  expect(sentenceOf(toldOf(refusal("x".repeat(9_000))), en).length).toBeLessThan(400);
});

test("what an earlier version wrote down as a sentence is shown as it stands", () => {
  expect(sentenceOf("the room log is broken at 3: fork", es)).toBe(
    "the room log is broken at 3: fork",
  );
  expect(sentenceOf("constructor of it", en)).toBe("constructor of it");
});

test("no view and no room shows an error's own message, or a sentence of no language", () => {
  const folders = ["client", "ui"];
  const files = folders.flatMap((folder) =>
    readdirSync(join(SOURCE, folder), { recursive: true, encoding: "utf-8" })
      .filter((file) => /\.tsx?$/.test(file) && !/^(told|languages)/.test(file))
      .map((file) => join(SOURCE, folder, file)),
  );
  expect(files.length).toBeGreaterThan(50);
  const own = /\.message\b|(?:alarm|reason|failed|problem|refusal)\s*[:=]\s*[`"]\w+ /;
  const breaches = files.filter((file) => own.test(readFileSync(file, "utf-8")));
  expect(breaches).toEqual([]);
});
