/** What screen readers say of a room that is open. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { excerptOf } from "./format.ts";
import { authorOf, type People } from "./people.ts";
import { type Strings, useStrings } from "./strings.ts";
import { isNews, isWords } from "./unread.ts";

const SPOKEN_CHARACTERS = 300;

interface SpokenProps {
  readonly room: Room;
  readonly people: People;
  /** The newest there are, whatever is looked at; undefined until they have been read. */
  readonly entries: readonly Entry[] | undefined;
}

/** The newest message of somebody else, said by screen readers; what was there before is not. */
export function Spoken({ room, people, entries }: SpokenProps): JSX.Element {
  const strings = useStrings();
  const from = useRef<number>(undefined);
  const [said, setSaid] = useState("");
  const last = entries?.findLast(isWords);
  const isRead = entries !== undefined;
  useEffect(() => {
    if (!isRead) return;
    const isNew = last !== undefined && last.seq > (from.current ?? last.seq);
    from.current = last?.seq ?? 0;
    if (isNew && isNews(room, last)) setSaid(sentenceFor(last, people, strings));
  }, [isRead, last?.seq]);
  return (
    <p class="unseen" aria-live="polite">
      {said}
    </p>
  );
}

const sentenceFor = (entry: Entry, people: People, strings: Strings): string =>
  strings.newFrom(authorOf(entry, people, strings), excerptOf(entry, SPOKEN_CHARACTERS));
