/** What to call whom, so that nobody passes for somebody else. */

import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { hex } from "../protocol/bytes.ts";
import type { Strings } from "./strings.ts";

const SHORT_ID = 4;

/** Names by member in hex; a name that two have carries a piece of each one's id. */
export type People = (mid: string, fallback?: string) => string;

/** Letters of other alphabets, and digits, that pass for Latin ones; after Unicode TR 39. */
const ALIKE: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries({
    a: "аαɑ",
    b: "ьвβ",
    c: "сϲ",
    d: "ԁ",
    e: "еєҽε",
    g: "ɡ",
    h: "һн",
    i: "іιıl1|ӏ!јj",
    k: "кκ",
    m: "мμ",
    n: "ηпո",
    o: "оοо0օσ",
    p: "рρ",
    q: "ԛ",
    r: "гґ",
    s: "ѕꜱ5$",
    t: "тτ",
    u: "υսц",
    v: "νѵ",
    w: "ԝωш",
    x: "хχ",
    y: "уүγ",
    z: "ᴢ2",
  }).flatMap(([latin, others]) => [...others].map((other) => [other, latin])),
);

/** What a name looks like to a hurried reader: case, width, accents and alphabet apart. */
export const looks = (name: string): string =>
  [...name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase()]
    .filter((each) => /[^\s\p{P}]/u.test(each) || each in ALIKE)
    .map((each) => ALIKE[each] ?? each)
    .join("")
    .replaceAll("rn", "m")
    .replaceAll("vv", "w");

export function peopleOf(room: Room, strings: Strings): People {
  const taken = new Map<string, number>();
  for (const { name } of room.members()) taken.set(looks(name), (taken.get(looks(name)) ?? 0) + 1);
  return (mid, fallback = "") => {
    const id = mid.slice(0, SHORT_ID);
    const name = room.nameOf(mid) || fallback || (mid === room.me ? room.saved.myName : "");
    if (name === "") return strings.nameless(id);
    const here = room.state.members.has(mid) ? 1 : 0;
    return (taken.get(looks(name)) ?? 0) > here ? `${name} (${id})` : name;
  };
}

/** Who is said to speak from another network, as a bridge tells; the bridge itself, if it does not. */
export const speakerOf = (entry: Entry, people: People): string =>
  (entry.via && entry.speaker) || people(entry.mid, entry.name);

/**
 * Who an entry is by, as it is shown. Of a network that proves nothing, with that said: its name alone
 * would read as the piece of an id that tells two members of one name apart.
 */
export const authorOf = (entry: Entry, people: People, strings: Strings): string => {
  const name = speakerOf(entry, people);
  return entry.via ? `${name} (${strings.via(entry.via)})` : name;
};

/** The members that `text` names by an @, in hex. */
export function mentionedIn(text: string, room: Room, people: People): string[] {
  if (!text.includes("@")) return [];
  return room
    .members()
    .filter(({ isMe }) => !isMe)
    .map(({ mid }) => hex(mid))
    .filter((mid) => text.includes(`@${people(mid)}`));
}
