/** What to call whom, so that nobody passes for somebody else. */

import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { hex } from "../protocol/bytes.ts";
import type { Strings } from "./strings.ts";

/** Digits of an id; as many again where two that look alike begin with the same ones. */
const SHORT_ID = 4;
/** What stands behind a name to tell it from another, or could be taken for it. */
const BRACKETED = /[\p{Ps}\p{Pi}]([^\p{Ps}\p{Pi}]{4,})[\p{Pe}\p{Pf}]\s*$/u;
/** The digits of an id, as `looks` has them. */
const DIGITS = /^[3-9a-foisz]{4,}$/u;

/** Names by member in hex; a name that two have carries as much of each one's id as it takes. */
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

/** Whether a name ends like one that carries a piece of an id: it may be another's. */
function bearsId(name: string): boolean {
  const [, inside = ""] = BRACKETED.exec(name.normalize("NFKC")) ?? [];
  return DIGITS.test(looks(inside));
}

export function peopleOf(room: Room, strings: Strings): People {
  /** The members, in hex, by what their names look like. */
  const alike = new Map<string, string[]>();
  for (const { name, mid } of room.members()) {
    const look = looks(name);
    alike.set(look, [...(alike.get(look) ?? []), hex(mid)]);
  }
  const othersOf = (name: string, mid: string) =>
    (alike.get(looks(name)) ?? []).filter((one) => one !== mid);
  return (mid, fallback = "") => {
    const name = room.nameOf(mid) || fallback || (mid === room.me ? room.saved.myName : "");
    const others = othersOf(name, mid);
    const id = shortId(mid, others);
    if (name === "") return strings.nameless(id);
    return others.length > 0 || bearsId(name) ? `${name} (${id})` : name;
  };
}

/** As much of an id as tells it from the others. */
function shortId(mid: string, others: readonly string[]): string {
  let digits = SHORT_ID;
  while (digits < mid.length && others.some((one) => one.startsWith(mid.slice(0, digits)))) {
    digits += SHORT_ID;
  }
  return mid.slice(0, digits);
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
