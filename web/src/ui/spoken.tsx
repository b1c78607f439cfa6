/** What screen readers say of a room that is open. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { authorOf, type People } from "./people.ts";
import { type Strings, useStrings } from "./strings.ts";
import { isNews } from "./unread.ts";

const SPOKEN_CHARACTERS = 300;

interface SpokenProps {
  readonly room: Room;
  readonly people: People;
  /** The newest there are, whatever is looked at. */
  readonly entries: readonly Entry[];
}

/** The newest message of somebody else, said by screen readers; what was there before is not. */
export function Spoken({ room, people, entries }: SpokenProps): JSX.Element {
  const strings = useStrings();
  const from = useRef<number>(undefined);
  const [said, setSaid] = useState("");
  const last = entries.findLast(({ kind }) => kind === "text");
  useEffect(() => {
    if (last === undefined) return;
    const isNew = from.current !== undefined && last.seq > from.current;
    from.current = last.seq;
    if (isNew && isNews(room, last)) setSaid(sentenceFor(last, people, strings));
  }, [last?.seq]);
  return (
    <p class="unseen" aria-live="polite">
      {said}
    </p>
  );
}

const sentenceFor = (entry: Entry, people: People, strings: Strings): string =>
  strings.newFrom(authorOf(entry, people, strings), entry.text.slice(0, SPOKEN_CHARACTERS));
