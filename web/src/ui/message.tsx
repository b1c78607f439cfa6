/** One entry of the history, as it is drawn. */

import type { JSX } from "preact";
import { useRef } from "preact/hooks";

import { type Entry, reactionsOf } from "../client/entries.ts";
import type { Waiting } from "../client/queued.ts";
import type { Room } from "../client/room.ts";
import type { Delivery } from "../client/roomview.ts";
import type { Content } from "../e2e/bodies.ts";
import { fromHex } from "../protocol/bytes.ts";
import { isOwner } from "../protocol/room.ts";
import { FileView } from "./files.tsx";
import { clock, emojiName, excerptOf, fullTime, isoTime } from "./format.ts";
import { Lite } from "./lite.tsx";
import { Kind } from "./members.tsx";
import { authorOf, type People, speakerOf } from "./people.ts";
import { sentenceOf } from "./sentences.ts";
import { type Strings, useStrings, type Who } from "./strings.ts";
import type { LineProps } from "./timeline.tsx";

/** Members named one by one. */
const NAMED = 3;
const EMOJI = ["👍", "❤️", "😂", "🎉", "😮", "😢"] as const;

type MessageProps = LineProps & { readonly isNext: boolean };

export function Message(props: MessageProps): JSX.Element {
  const { entry, room, isNext, isShown, isOnItsWay, replied, people } = props;
  const strings = useStrings();
  const isMine = entry.mid === room.me;
  const isForMe = entry.mentions?.includes(room.me) ?? false;
  const classes = [
    isMine && "mine",
    isNext && "next",
    isForMe && "for-me",
    isShown && "shown",
    isOnItsWay && "pending",
  ];
  return (
    <li
      class={["message", ...classes.filter(Boolean)].join(" ")}
      data-event={entry.eventId}
      tabIndex={isShown ? -1 : undefined}
    >
      {!isNext && <Heading entry={entry} room={room} people={people} />}
      <div class="bubble">
        {entry.replyTo && <Quote replied={replied} people={people} />}
        <Words entry={entry} room={room} people={people} />
        <p class="stamp">
          {entry.edited && <span>{strings.edited} · </span>}
          {isOnItsWay && <span>{strings.sending} · </span>}
          <time dateTime={isoTime(entry.ts)} title={fullTime(entry.ts)}>
            {clock(entry.ts)}
          </time>
          {isMine && !isOnItsWay && <Mark {...room.delivery(entry)} people={people} />}
        </p>
        {room.mayPost && isChangeable(entry) && <Actions {...props} />}
      </div>
      <Reactions entry={entry} room={room} people={people} />
    </li>
  );
}

/** How far one's own message has come: the second mark stands for other members' signatures. */
function Mark({ reached, awaited, people }: Delivery & { people: People }): JSX.Element {
  const { marks } = useStrings();
  const names = reached.slice(0, NAMED).map((mid) => people(mid));
  const label =
    names.length === 0
      ? marks.sent
      : marks.delivered(names.join(", "), reached.length - names.length, awaited.length);
  return (
    <span class="ticks" role="img" aria-label={label} title={label}>
      {names.length > 0 ? "✓✓" : "✓"}
    </span>
  );
}

const isChangeable = ({ kind }: Entry) => kind === "text" || kind === "file";

function Heading({ entry, room, people }: Pick<LineProps, "entry" | "room" | "people">) {
  const strings = useStrings();
  return (
    <p class="heading">
      <bdi class="name">{entry.mid === room.me ? strings.you : speakerOf(entry, people)}</bdi>{" "}
      {entry.via && <span class="mark">{strings.via(entry.via)}</span>}{" "}
      <Kind member={room.state.members.get(entry.mid)} />
    </p>
  );
}

function Words({ entry, room, people }: Pick<LineProps, "entry" | "room" | "people">) {
  const strings = useStrings();
  switch (entry.kind) {
    case "text":
      return (
        <Lite
          text={entry.text}
          isMarkdown={entry.isMarkdown}
          mentioned={(entry.mentions ?? []).map((member) => ({ member, name: people(member) }))}
        />
      );
    case "file":
      return entry.file ? <FileView entry={entry} file={entry.file} room={room} /> : null;
    case "redacted":
      return <p class="gone">{entry.text ? strings.redactedWhy(entry.text) : strings.redacted}</p>;
    case "unreadable":
      return <p class="gone">{strings.unreadable(sentenceOf(entry.text, strings))}</p>;
    default:
      return <p class="gone">{strings.unknownKind(entry.text)}</p>;
  }
}

function Quote({ replied, people }: { replied: Entry | undefined; people: People }): JSX.Element {
  const strings = useStrings();
  if (replied === undefined || !isChangeable(replied))
    return <blockquote class="quoted">{strings.replyGone}</blockquote>;
  return (
    <blockquote class="quoted">
      <strong>
        <bdi>{authorOf(replied, people, strings)}</bdi>
      </strong>
      <bdi class="excerpt">{excerptOf(replied)}</bdi>
    </blockquote>
  );
}

function Reactions({ entry, room, people }: Pick<LineProps, "entry" | "room" | "people">) {
  const strings = useStrings();
  const all = Object.entries(entry.reactions);
  if (all.length === 0) return null;
  return (
    <p class="reactions">
      {all.map(([emoji, mids]) => (
        <button
          key={emoji}
          type="button"
          disabled={!room.mayPost}
          aria-pressed={mids.includes(room.me)}
          aria-label={strings.reactions(
            emojiName(emoji),
            mids.length,
            mids.map((mid) => people(mid)).join(", "),
          )}
          title={mids.map((mid) => people(mid)).join(", ")}
          onClick={() => react(room, entry, emoji)}
        >
          <bdi class="emoji">{emojiName(emoji)}</bdi> {mids.length}
        </button>
      ))}
    </p>
  );
}

/** Puts a reaction there, or takes one's own away. */
function react(room: Room, entry: Entry, emoji: string): void {
  const removed = reactionsOf(entry, emoji).includes(room.me);
  void room.send({ type: "reaction", target: fromHex(entry.eventId), emoji, removed });
}

/** A menu at the lower edge would be cut off. */
function showWhole({ currentTarget }: { currentTarget: HTMLDetailsElement }): void {
  if (currentTarget.open) currentTarget.lastElementChild?.scrollIntoView({ block: "nearest" });
}

function Actions({ entry, room, onDraft }: MessageProps): JSX.Element {
  const strings = useStrings();
  const menu = useRef<HTMLDetailsElement>(null);
  const isMine = entry.mid === room.me;
  const me = room.state.members.get(room.me);
  const then = (act: () => void) => () => {
    menu.current?.removeAttribute("open");
    act();
  };
  const remove = () =>
    void room.send({ type: "redact", target: fromHex(entry.eventId), reason: "" });
  return (
    // Of one name, only one menu is open at a time.
    <details ref={menu} class="actions" name="actions" onToggle={showWhole}>
      <summary aria-label={strings.actions}>
        <span aria-hidden="true">⋯</span>
      </summary>
      <div class="menu">
        <p>
          {EMOJI.map((emoji) => (
            <button
              key={emoji}
              type="button"
              class="emoji"
              aria-label={strings.react(emoji)}
              onClick={then(() => react(room, entry, emoji))}
            >
              {emoji}
            </button>
          ))}
        </p>
        <button type="button" onClick={then(() => onDraft({ reply: entry }))}>
          {strings.reply}
        </button>
        {isMine && entry.kind === "text" && (
          <button type="button" onClick={then(() => onDraft({ edit: entry }))}>
            {strings.edit}
          </button>
        )}
        {(isMine || (me !== undefined && isOwner(me))) && (
          <button type="button" onClick={then(remove)}>
            {strings.remove}
          </button>
        )}
      </div>
    </details>
  );
}

/** What a person has said or done, in a word. */
function wordsOf(content: Content, strings: Strings): string {
  if ("text" in content) return content.text;
  if (content.type === "file" || content.type === "room" || content.type === "profile")
    return content.name;
  if (content.type === "reaction") return content.emoji;
  return content.type === "redact" ? strings.remove : "";
}

/** What is in the outbox: on its way, or refused. */
export function Pending({ item, room }: { item: Waiting; room: Room }): JSX.Element {
  const strings = useStrings();
  const { content } = item;
  const words = wordsOf(content, strings);
  return (
    <li class="message mine pending">
      <div class="bubble">
        <Lite text={words} isMarkdown />
        <p class="stamp">
          {item.failed ? strings.notSent(sentenceOf(item.failed, strings)) : strings.sending}
        </p>
        {item.failed && (
          <p class="row">
            <button type="button" onClick={() => void room.retry(item.id)}>
              {strings.retry}
            </button>
            <button type="button" onClick={() => void room.discard(item.id)}>
              {strings.discard}
            </button>
          </p>
        )}
      </div>
    </li>
  );
}

type ChangeProps = Pick<LineProps, "entry" | "room" | "people">;

/** A change of the room itself, between the messages. */
export function Change({ entry, room, people }: ChangeProps): JSX.Element {
  const strings = useStrings();
  const nameOf = (mid: string) => (mid === room.me ? strings.toYou : people(mid));
  const isReader = entry.mid === room.me;
  const who: Who = { name: isReader ? strings.you : authorOf(entry, people, strings), isReader };
  const concerned = entry.mentions ?? [];
  const whom: Who = {
    name: concerned.map(nameOf).join(", "),
    isReader: concerned.length === 1 && concerned[0] === room.me,
  };
  const known = (strings.changes as Record<string, Strings["changes"]["admit"]>)[entry.text];
  return <li class="change">{known?.(who, whom) || strings.somethingChanged(who)}</li>;
}
