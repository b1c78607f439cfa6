/** A room's messages, day by day, with what is not sent yet at their end. */

import type { JSX, RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

import { type Entry, idsOf } from "../client/entries.ts";
import type { Waiting } from "../client/queued.ts";
import type { Room } from "../client/room.ts";
import { asItWillRead, isReworded } from "./changing.ts";
import type { Draft } from "./composer.tsx";
import { dayName, sameDay } from "./format.ts";
import { Change, Message, Pending } from "./message.tsx";
import { Guarded } from "./parts.tsx";
import type { People } from "./people.ts";
import { useStrings } from "./strings.ts";

/** So near to its end a reader follows what is said. */
const NEAR_PX = 80;
/** Messages of one member so close together share a heading. */
const TOGETHER_MS = 5 * 60 * 1000;

export interface TimelineProps {
  readonly room: Room;
  readonly people: People;
  /** Oldest first; undefined until they have been read. */
  readonly entries: readonly Entry[] | undefined;
  readonly hasEarlier: boolean;
  /** The event that was asked for, in hex; it is scrolled to. */
  readonly shown: string;
  readonly onEarlier: () => void;
  /** Whether its last entry can be seen, each time that this changes. */
  readonly onEnd: (isAtEnd: boolean) => void;
  /** Where these are not the newest ones: how to come there. */
  readonly onNewest: (() => void) | undefined;
  /** How many are unread of those that can not be seen; "" none. */
  readonly newer: string;
  readonly onDraft: (draft: Draft) => void;
}

export function Timeline(props: TimelineProps): JSX.Element {
  const strings = useStrings();
  const { room, people, hasEarlier, shown, onEarlier, onNewest, onDraft } = props;
  const { entries: kept = [] } = props;
  const outbox = useWaiting(room, props.entries);
  const entries =
    outbox.length === 0 ? kept : kept.map((entry) => asItWillRead(entry, outbox, room));
  const waiting = outbox.filter(({ content, failed }) => {
    return content.type === "text" || content.type === "file" || failed !== "";
  });
  const box = useRef<HTMLElement>(null);
  const toEnd = useScrolling(box, entries, waiting.length, {
    onEarlier: hasEarlier ? onEarlier : undefined,
    onEnd: props.onEnd,
  });
  useShowing(box, shown, kept);
  const firstUnread = useFirstUnread(room, kept);
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard must be able to scroll it */}
      <section ref={box} class="timeline" aria-label={strings.messages} tabIndex={0}>
        {hasEarlier ? (
          <button type="button" class="quiet" onClick={onEarlier}>
            {strings.earlier}
          </button>
        ) : (
          props.entries && (
            <p class="hint">{entries.length === 0 ? strings.nothingYet : strings.beginning}</p>
          )
        )}
        <ol>
          {entries.map((entry, index) => (
            <Guarded
              key={entry.eventId}
              instead={
                <li class="change">{strings.unreadable(strings.told["unreadable.bad_body"])}</li>
              }
            >
              <Line
                entry={entry}
                isOnItsWay={isReworded(entry, kept[index] as Entry)}
                before={entries[index - 1]}
                room={room}
                people={people}
                isShown={entry.eventId === shown}
                isFirstUnread={entry.seq === firstUnread}
                replied={entries.find((one) => idsOf(one).includes(entry.replyTo))}
                onDraft={onDraft}
              />
            </Guarded>
          ))}
          {!onNewest && waiting.map((item) => <Pending key={item.id} item={item} room={room} />)}
        </ol>
        {onNewest && (
          <button type="button" class="quiet" onClick={onNewest}>
            {strings.newest(props.newer)}
          </button>
        )}
      </section>
      {!onNewest && props.newer !== "" && (
        <button type="button" class="quiet to-newest" onClick={toEnd}>
          {strings.newest(props.newer)}
        </button>
      )}
    </>
  );
}

/**
 * What waits to be sent. What has come into the log waits on until it is read from there, too: it would
 * be nowhere for a moment, and what it changes as it was before.
 */
function useWaiting(room: Room, read: readonly Entry[] | undefined): readonly Waiting[] {
  const { revision } = room;
  const last = useRef<{ read: typeof read; revision: number; waiting: readonly Waiting[] }>(
    undefined,
  );
  const isBehind = last.current?.read === read && last.current?.revision !== revision;
  if (!last.current || !isBehind) last.current = { read, revision, waiting: room.waiting() };
  return last.current.waiting;
}

export interface LineProps {
  readonly entry: Entry;
  readonly room: Room;
  readonly people: People;
  /** It reads so once what waits here is at the relay. */
  readonly isOnItsWay: boolean;
  readonly isShown: boolean;
  readonly isFirstUnread: boolean;
  /** The message that it answers, if it is at hand. */
  readonly replied: Entry | undefined;
  readonly onDraft: (draft: Draft) => void;
}

function Line({ before, ...props }: LineProps & { before: Entry | undefined }): JSX.Element {
  const strings = useStrings();
  const { entry } = props;
  const isNewDay = entry.ts > 0 && !(before && sameDay(before.ts, entry.ts));
  return (
    <>
      {isNewDay && (
        <li class="day">
          <span>{dayName(entry.ts, Date.now(), strings)}</span>
        </li>
      )}
      {props.isFirstUnread && (
        <li class="day unread">
          <span>{strings.newMessages}</span>
        </li>
      )}
      {entry.kind === "change" ? (
        <Change {...props} />
      ) : (
        <Message {...props} isNext={!isNewDay && isNext(entry, before)} />
      )}
    </>
  );
}

/** Whether it goes on where the message before it ended: same member, a moment later. */
const isNext = (entry: Entry, before: Entry | undefined): boolean =>
  before !== undefined &&
  before.kind !== "change" &&
  before.mid === entry.mid &&
  before.via === entry.via &&
  before.speaker === entry.speaker &&
  Math.abs(entry.ts - before.ts) < TOGETHER_MS;

interface Scrolling {
  readonly onEarlier: (() => void) | undefined;
  readonly onEnd: (isAtEnd: boolean) => void;
}

/**
 * Stays at the end while one reads there, and in place when earlier messages come in above. Returns
 * how to go to the end.
 */
function useScrolling(
  box: RefObject<HTMLElement | null>,
  entries: readonly Entry[],
  waiting: number,
  scrolling: Scrolling,
): () => void {
  const seen = useRef({ height: 0, top: 0, room: 0, first: -1, atEnd: true });
  const latest = useRef(scrolling);
  latest.current = scrolling;
  useLayoutEffect(() => {
    const { current } = box;
    if (current === null) return;
    const first = entries[0]?.seq ?? -1;
    if (seen.current.atEnd) current.scrollTop = current.scrollHeight;
    else if (first < seen.current.first) {
      current.scrollTop += current.scrollHeight - seen.current.height;
    }
    const { scrollHeight: height, scrollTop: top } = current;
    seen.current = { ...seen.current, height, top, first };
  }, [box, entries, waiting]);
  useEffect(() => {
    const { current } = box;
    if (current === null) return undefined;
    latest.current.onEnd(seen.current.atEnd);
    const scrolled = () => {
      const below = current.scrollHeight - current.scrollTop - current.clientHeight;
      // What grows below, or leaves less room, takes nobody from the end: only who goes up leaves it.
      // Where there is more room the browser goes up itself.
      const { scrollTop: top, clientHeight: room } = current;
      const isUp = top < seen.current.top && room === seen.current.room;
      const { atEnd: was } = seen.current;
      seen.current = { ...seen.current, top, room };
      if (isUp || below < NEAR_PX) seen.current.atEnd = below < NEAR_PX;
      if (seen.current.atEnd !== was) latest.current.onEnd(!was);
      if (current.scrollTop === 0 && !seen.current.atEnd) latest.current.onEarlier?.();
    };
    const resized = new ResizeObserver(() => {
      if (seen.current.atEnd) current.scrollTop = current.scrollHeight;
      seen.current = { ...seen.current, top: current.scrollTop, room: current.clientHeight };
    });
    current.addEventListener("scroll", scrolled, { passive: true });
    resized.observe(current);
    return () => {
      current.removeEventListener("scroll", scrolled);
      resized.disconnect();
    };
  }, [box]);
  return () => {
    if (box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  };
}

/** Scrolls to the event that was asked for, once it is there. */
function useShowing(
  box: RefObject<HTMLElement | null>,
  shown: string,
  entries: readonly Entry[],
): void {
  const done = useRef("");
  useLayoutEffect(() => {
    if (shown === "" || done.current === shown) return;
    const found = box.current?.querySelector<HTMLElement>(`[data-event="${shown}"]`);
    if (!found) return;
    done.current = shown;
    found.scrollIntoView({ block: "center" });
    // Who looks through what was found stays there, as long as it can be seen.
    if (!document.activeElement?.closest(".panel")) found.focus({ preventScroll: true });
  }, [box, shown, entries]);
}

/** The seq of the first message of others that was new when the room was opened; -1 if none was. */
function useFirstUnread(room: Room, entries: readonly Entry[]): number {
  const first = useRef<number>(undefined);
  if (first.current === undefined && entries.length > 0) {
    const { readUpTo } = room.saved;
    const isNew = ({ seq, mid, kind }: Entry) =>
      seq > readUpTo && mid !== room.me && (kind === "text" || kind === "file");
    first.current = entries.find(isNew)?.seq ?? -1;
  }
  return first.current ?? -1;
}
