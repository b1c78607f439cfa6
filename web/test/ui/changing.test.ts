/** What is changed while the relay is away, as it is shown until it is back. */

import { expect, test } from "vitest";

import { blank } from "../../src/client/entries.ts";
import type { Waiting } from "../../src/client/queued.ts";
import type { Content } from "../../src/e2e/bodies.ts";
import { fromHex } from "../../src/protocol/bytes.ts";
import { asItWillRead, isReworded } from "../../src/ui/changing.ts";

const target = fromHex("ab".repeat(32));
const entry = {
  ...blank,
  seq: 3,
  eventId: "ab".repeat(32),
  mid: "aa",
  name: "Ana",
  ts: 1,
  kind: "text" as const,
  text: "hi",
};
const [me, other] = [
  { me: "aa", isOwner: false },
  { me: "bb", isOwner: false },
];
const waits = (content: object, failed = ""): Waiting => {
  return { id: "1", content: content as Content, ts: 5, failed };
};
const edit = { type: "edit", target, text: "ho", format: "plain", mentions: [] };
const redact = { type: "redact", target, reason: "" };
const like = { type: "reaction", target, emoji: "👍", removed: false };

test("edits, deletions and reactions that wait are shown, one after the other", () => {
  const edited = asItWillRead(entry, [waits(edit), waits(like)], me);
  expect(edited).toMatchObject({ text: "ho", edited: true, reactions: { "👍": ["aa"] } });
  expect(isReworded(edited, entry)).toBe(true);
  const gone = asItWillRead(entry, [waits(edit), waits(redact)], me);
  expect([gone.kind, gone.text, isReworded(gone, entry)]).toEqual(["redacted", "", true]);
  expect(isReworded(asItWillRead(entry, [waits(like)], me), entry)).toBe(false);
});

test("what may not be, what was refused, and what is about another message changes nothing", () => {
  for (const content of [edit, redact]) {
    expect(asItWillRead(entry, [waits(content)], other)).toBe(entry);
    expect(asItWillRead(entry, [waits(content, "forbidden")], me)).toBe(entry);
  }
  expect(asItWillRead(entry, [waits({ ...redact, target: fromHex("cd".repeat(32)) })], me)).toBe(
    entry,
  );
  expect(asItWillRead(entry, [waits({ type: "text", text: "hi" })], me)).toBe(entry);
  const byOwner = asItWillRead(entry, [waits(redact)], { me: "bb", isOwner: true });
  expect(byOwner.kind).toBe("redacted");
});
