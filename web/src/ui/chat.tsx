/** One room: its history, what waits to be sent, who is in it, and where one writes. */

import type { JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import { text } from "../client/contents.ts";
import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import type { Told } from "../client/told.ts";
import type { Content } from "../e2e/bodies.ts";
import { fromHex } from "../protocol/bytes.ts";
import { Composer, type Draft } from "./composer.tsx";
import { useHistory, useKeptFocus } from "./hooks.ts";
import { Icon } from "./icons.tsx";
import { Invite } from "./invite.tsx";
import { Members } from "./members.tsx";
import { mentionedIn, type People, peopleOf } from "./people.ts";
import { Search } from "./search.tsx";
import { sentenceOf } from "./sentences.ts";
import { Spoken } from "./spoken.tsx";
import { useStrings } from "./strings.ts";
import { Timeline } from "./timeline.tsx";
import { unreadCount, unreadOf } from "./unread.ts";
import { sendAll, Uploads, useDropping } from "./uploads.tsx";
import { Voided } from "./voided.tsx";

const PAGE = 50;
/** What was said longer ago is shown by itself: a page of all since then would be slow to draw. */
const NEAR = 60;

interface ChatProps {
  readonly client: Client;
  readonly room: Room;
  readonly onBack: () => void;
}

type Beside = "members" | "invite" | "search";

export function Chat({ client, room, onBack }: ChatProps): JSX.Element {
  const strings = useStrings();
  const [limit, setLimit] = useState(PAGE);
  /** Entries before this one are shown; undefined up to the newest. */
  const [before, setBefore] = useState<number>();
  const [beside, setBeside] = useState<Beside>();
  const [draft, setDraft] = useState<Draft>({});
  const [shown, setShown] = useState("");
  const [isAtEnd, setAtEnd] = useState(true);
  const entries = useHistory(room, limit, before);
  const isPast = before !== undefined;
  /** What is said while one looks at what was said long ago. */
  const newest = useHistory(room, isPast ? PAGE : 0);
  const ahead = (isPast ? newest : entries) ?? [];
  const people = peopleOf(room, strings);
  const onFiles = room.mayAttach ? sendAll(room) : undefined;
  const dropping = useDropping(onFiles);
  useReading(room, isAtEnd ? entries?.at(-1) : undefined);
  const main = useRef<HTMLElement>(null);
  useKeptFocus(main, ".timeline");
  const toNewest = () => {
    setBefore(undefined);
    setLimit(PAGE);
    setShown("");
  };
  const send = async (words: string) => {
    setDraft({});
    if (isPast) toNewest();
    await room.send(contentOf(words, draft, mentionedIn(words, room, people)));
  };
  const show = ({ seq, eventId }: Entry) => {
    const newer = room.lastSeq - seq;
    setBefore(newer > NEAR ? seq + PAGE / 2 : undefined);
    setLimit(newer > NEAR ? PAGE : Math.max(PAGE, newer + 1));
    setShown(eventId);
    if (innerWidth < 1120) setBeside(undefined); // where a panel covers the messages
  };
  return (
    <div class={beside ? "chat with-panel" : "chat"}>
      <main ref={main} {...dropping.handlers}>
        <Bar room={room} beside={beside} onBeside={setBeside} onBack={onBack} />
        <Alarms client={client} room={room} />
        <Standing client={client} room={room} />
        <Voided room={room} people={people} />
        <Timeline
          key={before}
          room={room}
          people={people}
          entries={entries}
          hasEarlier={(entries?.length ?? 0) >= limit}
          shown={shown}
          onEarlier={() => setLimit((now) => now + PAGE)}
          onNewest={isPast ? toNewest : undefined}
          newer={isPast || !isAtEnd ? unreadCount(unreadOf(room, ahead), PAGE) : ""}
          onEnd={setAtEnd}
          onDraft={setDraft}
        />
        <Spoken room={room} people={people} entries={isPast ? newest : entries} />
        <Typing room={room} people={people} />
        <Uploads room={room} />
        {room.mayPost && (
          <Composer
            room={room}
            draft={draft}
            people={people}
            onSend={send}
            onAgain={setDraft}
            onFiles={onFiles}
            onCancel={() => setDraft({})}
          />
        )}
        {dropping.isOver && <p class="drop">{strings.files.drop}</p>}
      </main>
      {beside === "members" && (
        <Members client={client} room={room} onClose={() => setBeside(undefined)} />
      )}
      {beside === "invite" && <Invite room={room} onClose={() => setBeside(undefined)} />}
      {beside === "search" && (
        <Search room={room} shown={shown} onClose={() => setBeside(undefined)} onShow={show} />
      )}
    </div>
  );
}

/** What is on the screen, up to its end, is read as soon as somebody looks at it. */
function useReading(room: Room, last: Entry | undefined): void {
  useEffect(() => {
    const read = () => {
      if (last !== undefined && document.visibilityState === "visible")
        void room.markRead(last.seq);
    };
    read();
    document.addEventListener("visibilitychange", read);
    return () => document.removeEventListener("visibilitychange", read);
  }, [room, last?.seq]);
}

interface BarProps {
  readonly room: Room;
  readonly beside: Beside | undefined;
  readonly onBeside: (beside: Beside | undefined) => void;
  readonly onBack: () => void;
}

function Bar({ room, beside, onBeside, onBack }: BarProps): JSX.Element {
  const strings = useStrings();
  const count = room.state.members.size;
  const toggles = (which: Beside, label: string) => ({
    "aria-label": label,
    "aria-expanded": beside === which,
    onClick: () => onBeside(beside === which ? undefined : which),
  });
  return (
    <header class="bar">
      <button type="button" class="only-phone sign" aria-label={strings.back} onClick={onBack}>
        <Icon sign="back" />
      </button>
      <h1>
        <bdi>{room.name || room.id.slice(0, 8)}</bdi>
      </h1>
      <button type="button" class="sign" {...toggles("search", strings.search.open)}>
        <Icon sign="search" />
        <span class="only-wide">{strings.search.open}</span>
      </button>
      {room.mayInvite && (
        <button type="button" class="sign" {...toggles("invite", strings.invites.open)}>
          <Icon sign="invite" />
          <span class="only-wide">{strings.invites.open}</span>
        </button>
      )}
      <button type="button" class="sign" {...toggles("members", strings.membersCount(count))}>
        <Icon sign="people" />
        <span class="only-wide">{strings.membersCount(count)}</span>
        <span class="only-phone">{count}</span>
      </button>
    </header>
  );
}

/** What a draft becomes: new words, an answer, or an earlier message in new words. */
function contentOf(words: string, { reply, edit }: Draft, named: readonly string[]): Content {
  const mentions = named.map(fromHex);
  if (edit !== undefined) {
    const target = fromHex(edit.eventId);
    return { type: "edit", target, text: words, format: "markdown-lite", mentions };
  }
  return text(words, { mentions, ...(reply && { replyTo: replyTarget(reply) }) });
}

const replyTarget = (entry: Entry) => fromHex(entry.eventId);

const TYPISTS = 3;

function Typing({ room, people }: { room: Room; people: People }): JSX.Element {
  const strings = useStrings();
  const typists = room.typists();
  const names = typists.slice(0, TYPISTS).map((mid) => people(mid));
  return (
    <p class="typing">{names.length > 0 && strings.typing(names.join(", "), typists.length)}</p>
  );
}

/** What somebody has to look after, each until they have read it. */
function Alarms({ client, room }: Omit<ChatProps, "onBack">): JSX.Element {
  const strings = useStrings();
  const id = useId();
  return (
    // Always there, so that a screen reader hears what comes.
    <div class="alarms" role="status">
      {client.alarmsOf(room).map((alarm, at) => (
        <div key={alarm} class="banner alarm">
          <span id={`${id}${at}`}>{strings.alarmed(sentenceOf(alarm, strings))}</span>
          <button
            type="button"
            aria-describedby={`${id}${at}`}
            onClick={() => void client.dismissAlarm(room, alarm)}
          >
            {strings.dismiss}
          </button>
        </div>
      ))}
    </div>
  );
}

/** One line above the messages, when something keeps them from coming or going. */
function Standing({ client, room }: Omit<ChatProps, "onBack">): JSX.Element {
  const strings = useStrings();
  const { status, reason, genesis } = room.saved;
  const say = (what: Told) => sentenceOf(what, strings);
  if (status === "frozen") return <Banner kind="alarm" text={strings.frozen(say(reason))} />;
  if (status === "removed") {
    const wasRefused = genesis !== undefined; // nobody was ever in it
    if (reason === "admission_void") return <Banner kind="alarm" text={say(reason)} />;
    const text = wasRefused ? strings.making.refused(say(reason)) : strings.removed;
    return <Banner kind="note" text={text} />;
  }
  // Graver than all that follows, which they may be about.
  if (client.alarmsOf(room).length > 0) return <Banner kind="note" text="" />;
  if (room.refusal) return <Banner kind="note" text={strings.refusedNow(say(room.refusal))} />;
  const [asking] = room.phrasesAsked();
  if (asking) {
    const name = peopleOf(room, strings)(asking);
    return <Banner kind="note" text={strings.phrases.banner(name)} />;
  }
  const trouble = client.troubleOf(room);
  const state = client.stateOf(room);
  if (trouble || state === "offline") {
    const text = trouble ? strings.alarmed(say(trouble)) : strings.offline;
    return (
      <Banner kind={trouble ? "alarm" : "note"} text={text}>
        <button type="button" onClick={() => client.retryNow()}>
          {strings.retryNow}
        </button>
      </Banner>
    );
  }
  if (state === "connecting") return <Banner kind="note" text={strings.connecting} />;
  const news = client.newsOf(room);
  if (news) {
    return (
      <Banner kind="note" text={say(news)}>
        <button type="button" onClick={() => void client.dismissNews(room)}>
          {strings.dismiss}
        </button>
      </Banner>
    );
  }
  return <Banner kind="note" text={room.mayPost ? "" : strings.readOnly} />;
}

interface BannerProps {
  readonly kind: "note" | "alarm";
  readonly text: string;
  readonly children?: JSX.Element;
}

/** Always there, so that a screen reader hears it change. */
const Banner = ({ kind, text, children }: BannerProps): JSX.Element => (
  <div class={text ? `banner ${kind}` : "unseen"} role="status">
    {text} {children}
  </div>
);
