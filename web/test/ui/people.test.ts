/** What people are called: who speaks through a bridge passes for no member. */

import { expect, test } from "vitest";

import { blank } from "../../src/client/entries.ts";
import { authorOf, speakerOf } from "../../src/ui/people.ts";
import { stringsOf } from "../../src/ui/strings.ts";

const said = {
  ...blank,
  seq: 3,
  eventId: "ab".repeat(32),
  mid: "05".repeat(32),
  name: "irc bridge",
  ts: 1,
  kind: "text" as const,
  text: "hi",
};
const people = (_mid: string, fallback = "") => fallback;

test.each(["en", "es"])(
  "wherever an author is named, in %s, who is not verified is said to be so",
  (tag) => {
    const strings = stringsOf(tag);
    // A short id, as it stands behind the name of one of two members who are called alike.
    const author = authorOf({ ...said, via: "1a2b", speaker: "Ana" }, people, strings);
    expect(author).toBe(`Ana (${strings.via("1a2b")})`);
    expect(authorOf(said, people, strings)).toBe("irc bridge");
  },
);

test("without the name of a network nobody is called what a bridge calls them", () => {
  const bare = { ...said, speaker: "Ana" }; // as an earlier version kept it
  expect(speakerOf(bare, people)).toBe("irc bridge");
  expect(authorOf(bare, people, stringsOf("en"))).toBe("irc bridge");
  expect(speakerOf({ ...said, via: "IRC", speaker: "" }, people)).toBe("irc bridge");
});
