/** What people are called: who speaks through a bridge passes for no member. */

import { expect, test } from "vitest";

import { blank } from "../../src/client/entries.ts";
import type { Room } from "../../src/client/room.ts";
import { fromHex } from "../../src/protocol/bytes.ts";
import { authorOf, peopleOf, speakerOf } from "../../src/ui/people.ts";
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

/** What the members of a room are called, of whom each has said a name. */
function called(names: Readonly<Record<string, string>>): string[] {
  const mids = Object.keys(names);
  const room = {
    me: "",
    saved: { myName: "" },
    members: () => mids.map((mid) => ({ mid: fromHex(mid), name: names[mid] })),
    nameOf: (mid: string) => names[mid] ?? "",
    state: { members: new Map(mids.map((mid) => [mid, {}])) },
  } as unknown as Room;
  const people = peopleOf(room, stringsOf("en"));
  return mids.map((mid) => people(mid));
}
const midOf = (begin: string) => begin.padEnd(64, "0");

test("who has chosen keys until their id begins as another's is told apart all the same", () => {
  const [ana, eve, bo] = [midOf("08c3aaaa"), midOf("08c3bbbb"), midOf("1111")];
  expect(called({ [ana]: "Ana", [bo]: "Bo" })).toEqual(["Ana", "Bo"]);
  expect(called({ [ana]: "Ana", [eve]: "Ana", [bo]: "Anа" })).toEqual([
    "Ana (08c3aaaa)",
    "Ana (08c3bbbb)",
    "Anа (1111)",
  ]);
  expect(called({ [ana]: "", [eve]: "" })).toEqual(["Somebody (08c3aaaa)", "Somebody (08c3bbbb)"]);
});

test("who calls themselves by a name with another's id gets their own behind it", () => {
  const [ana, second, eve] = [midOf("08c3"), midOf("2222"), midOf("3333")];
  const all = called({ [ana]: "Ana", [second]: "Ana", [eve]: "Ana (08c3)" });
  expect(all).toEqual(["Ana (08c3)", "Ana (2222)", "Ana (08c3) (3333)"]);
  for (const name of ["Ana (08C3)", "Ana [08с3]", "Ana （08c3）", "Ana «O8c3»", "Ana (08c3aaaa)"]) {
    expect(called({ [eve]: name })).toEqual([`${name} (3333)`]);
  }
  for (const name of ["Ana (she/her)", "Ana :)", "Ana (b)"]) {
    expect(called({ [eve]: name })).toEqual([name]);
  }
});
