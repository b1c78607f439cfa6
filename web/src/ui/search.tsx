/** Search among the messages that this browser keeps: nobody else is asked. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { excerptOf, shortTime } from "./format.ts";
import { Panel } from "./panel.tsx";
import { Field } from "./parts.tsx";
import { authorOf, peopleOf } from "./people.ts";
import { useStrings } from "./strings.ts";

const MOST = 50;
/** A pause in typing, after which it is searched. */
const PAUSE_MS = 200;

interface SearchProps {
  readonly room: Room;
  /** The event that is shown, in hex; "" none. */
  readonly shown: string;
  readonly onClose: () => void;
  readonly onShow: (entry: Entry) => void;
}

export function Search({ room, shown, onClose, onShow }: SearchProps): JSX.Element {
  const strings = useStrings();
  const { search } = strings;
  const people = peopleOf(room, strings);
  const [words, setWords] = useState("");
  const [found, setFound] = useState<readonly Entry[]>();
  useEffect(() => {
    setFound(undefined);
    if (words.trim() === "") return undefined;
    const stop = new AbortController();
    const look = async () => {
      const entries = await room.search(words, { most: MOST, signal: stop.signal });
      if (!stop.signal.aborted) setFound(entries);
    };
    const timer = setTimeout(() => void look(), PAUSE_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [room, words]);
  return (
    <Panel title={search.title} onClose={onClose}>
      <search class="part">
        <Field label={search.words} value={words} onValue={setWords} isFirst />
        <p class="hint" role="status">
          {found && (found.length === 0 ? search.nothing : search.found(found.length))}{" "}
          {found?.length === MOST && search.more}
        </p>
      </search>
      <ul aria-label={search.results}>
        {found?.map((entry) => (
          <li key={entry.eventId}>
            <button
              type="button"
              class="hit"
              aria-current={entry.eventId === shown}
              onClick={() => onShow(entry)}
            >
              <strong>
                <bdi>{authorOf(entry, people, strings)}</bdi>
              </strong>{" "}
              <time>{shortTime(entry.ts)}</time>
              <bdi class="excerpt">{excerptOf(entry)}</bdi>
            </button>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
