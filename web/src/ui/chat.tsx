/** One room: its history, what waits to be sent, who is in it, and where one writes. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import { text } from "../client/contents.ts";
import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import type { Content } from "../e2e/bodies.ts";
import { fromHex } from "../protocol/bytes.ts";
import { Composer, type Draft } from "./composer.tsx";
import { useHistory } from "./hooks.ts";
import { Members } from "./members.tsx";
import { peopleOf } from "./people.ts";
import { useStrings } from "./strings.ts";
import { Timeline } from "./timeline.tsx";

const PAGE = 50;

interface ChatProps {
  readonly client: Client;
  readonly room: Room;
  readonly onBack: () => void;
}

export function Chat({ client, room, onBack }: ChatProps): JSX.Element {
  const strings = useStrings();
  const [limit, setLimit] = useState(PAGE);
  const [hasMembers, showMembers] = useState(false);
  const [draft, setDraft] = useState<Draft>({});
  const entries = useHistory(room, limit);
  const people = peopleOf(room, strings);
  const last = entries?.at(-1);
  useEffect(() => {
    if (last !== undefined) void room.markRead(last.seq);
  }, [room, last?.seq]);

  const send = (words: string) => {
    setDraft({});
    void room.send(contentOf(words, draft));
  };

  return (
    <div class={hasMembers ? "chat with-members" : "chat"}>
      <main>
        <header class="bar">
          <button type="button" class="only-phone" onClick={onBack}>
            {strings.back}
          </button>
          <h1>
            <bdi>{room.name}</bdi>
          </h1>
          <button
            type="button"
            aria-expanded={hasMembers}
            onClick={() => showMembers((shown) => !shown)}
          >
            {strings.membersCount(room.state.members.size)}
          </button>
        </header>
        <Standing client={client} room={room} />
        <Timeline
          room={room}
          people={people}
          entries={entries}
          hasEarlier={(entries?.length ?? 0) >= limit}
          onEarlier={() => setLimit((now) => now + PAGE)}
          onDraft={setDraft}
        />
        {room.mayPost && (
          <Composer draft={draft} people={people} onSend={send} onCancel={() => setDraft({})} />
        )}
      </main>
      {hasMembers && <Members room={room} onClose={() => showMembers(false)} />}
    </div>
  );
}

/** What a draft becomes: new words, an answer, or an earlier message in new words. */
function contentOf(words: string, { reply, edit }: Draft): Content {
  if (edit !== undefined) {
    const target = fromHex(edit.eventId);
    return { type: "edit", target, text: words, format: "markdown-lite", mentions: [] };
  }
  return text(words, reply && { replyTo: replyTarget(reply) });
}

const replyTarget = (entry: Entry) => fromHex(entry.eventId);

/** One line above the messages, when something keeps them from coming or going. */
function Standing({ client, room }: Omit<ChatProps, "onBack">): JSX.Element {
  const strings = useStrings();
  const { status, reason } = room.saved;
  if (status === "frozen") return <Banner kind="alarm" text={strings.frozen(reason)} />;
  if (status === "removed") return <Banner kind="note" text={strings.removed} />;
  const state = client.stateOf(room.url);
  if (state === "offline") {
    return (
      <Banner kind="note" text={strings.offline}>
        <button type="button" onClick={() => client.retryNow()}>
          {strings.retryNow}
        </button>
      </Banner>
    );
  }
  if (state === "connecting") return <Banner kind="note" text={strings.connecting} />;
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
