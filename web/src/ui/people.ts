/** What to call whom, so that nobody passes for somebody else. */

import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import type { Strings } from "./strings.ts";

const SHORT_ID = 4;

/** Names by member in hex; a name that two have carries a piece of each one's id. */
export type People = (mid: string, fallback?: string) => string;

/** What two names look like to a hurried reader: case, width and accents apart. */
const looks = (name: string) =>
  name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/\s/g, "");

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

/** Who an entry is by, as it is shown. */
export const authorOf = (entry: Entry, people: People): string => people(entry.mid, entry.name);
