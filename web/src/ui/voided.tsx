/** What came to nothing when the room was moved to a relay that did not have it: shown, and kept. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { clock, dayName, excerptOf, isoTime } from "./format.ts";
import { Change } from "./message.tsx";
import { Sure } from "./panel.tsx";
import { authorOf, type People } from "./people.ts";
import { useStrings } from "./strings.ts";

interface VoidedProps {
  readonly room: Room;
  readonly people: People;
}

/** As long as something of it is kept aside. */
export function Voided({ room, people }: VoidedProps): JSX.Element | null {
  const { voided } = useStrings();
  const [isOpen, setOpen] = useState(false);
  const { cut } = room;
  if (cut === undefined) return null;
  return (
    <section class="banner note voided" aria-label={voided.title}>
      <p role="status">
        {voided.what(cut.messages, cut.controls)} {cut.own > 0 && voided.again(cut.own)}
      </p>
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>{voided.show}</summary>
        {isOpen && <Kept room={room} people={people} />}
      </details>
    </section>
  );
}

function Kept({ room, people }: VoidedProps): JSX.Element {
  const { voided } = useStrings();
  const entries = useVoided(room);
  return (
    <>
      {entries?.length === 0 && <p>{voided.none}</p>}
      <ol>
        {entries?.map((entry) =>
          entry.kind === "change" ? (
            <Change key={entry.eventId} entry={entry} room={room} people={people} />
          ) : (
            <Void key={entry.eventId} entry={entry} people={people} />
          ),
        )}
      </ol>
      <Sure label={voided.forget} question={voided.sure} onYes={() => void room.forgetVoided()} />
    </>
  );
}

/** They are fewer once some of them have been said again. */
function useVoided(room: Room): readonly Entry[] | undefined {
  const [entries, setEntries] = useState<readonly Entry[]>();
  const { revision } = room;
  useEffect(() => {
    let stale = false;
    const read = async () => {
      try {
        const found = await room.voided();
        if (!stale) setEntries(found);
      } catch (error) {
        if (!stale) throw error; // stale: the vault was locked meanwhile
      }
    };
    void read();
    return () => {
      stale = true;
    };
  }, [room, revision]);
  return entries;
}

/** A message that is in nobody's history any more. */
function Void({ entry, people }: { entry: Entry; people: People }): JSX.Element {
  const strings = useStrings();
  const { kind, file } = entry;
  const words = kind === "redacted" ? strings.redacted : excerptOf(entry);
  return (
    <li>
      <strong>
        <bdi>{authorOf(entry, people, strings)}</bdi>
      </strong>{" "}
      <time dateTime={isoTime(entry.ts)}>
        {dayName(entry.ts, Date.now(), strings)}, {clock(entry.ts)}
      </time>
      <p>
        <bdi>{kind === "unreadable" ? strings.voided.unreadable : words || file?.name}</bdi>
      </p>
    </li>
  );
}
