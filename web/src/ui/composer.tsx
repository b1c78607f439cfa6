/** Where one writes: Enter sends, Shift+Enter begins a new line. */

import type { JSX } from "preact";
import { useContext, useLayoutEffect, useRef, useState } from "preact/hooks";

import { RoomOver } from "../client/core.ts";
import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { hex } from "../protocol/bytes.ts";
import { excerptOf, sizeName, TEXT_BYTES, textBytes } from "./format.ts";
import { Icon } from "./icons.tsx";
import { Problem } from "./parts.tsx";
import { authorOf, type People } from "./people.ts";
import { useStrings } from "./strings.ts";
import { UnsentContext } from "./unsent.ts";

/** The others are told at most so often that one types. */
const TYPING_MS = 3_000;
const SUGGESTIONS = 5;

/** What the next words are about, if they are not simply said. */
export interface Draft {
  readonly reply?: Entry;
  readonly edit?: Entry;
}

interface ComposerProps {
  readonly room: Room;
  readonly draft: Draft;
  readonly people: People;
  /** Settled once they are in the vault. */
  readonly onSend: (words: string) => Promise<void>;
  /** What they were about, to be said again. */
  readonly onAgain: (draft: Draft) => void;
  readonly onFiles: ((files: readonly File[]) => void) | undefined;
  readonly onCancel: () => void;
}

export function Composer(props: ComposerProps): JSX.Element {
  const { room, draft, people, onSend, onAgain, onFiles, onCancel } = props;
  const strings = useStrings();
  const unsent = useContext(UnsentContext);
  const [words, setWords] = useState(unsent.get(room.id) ?? "");
  const input = useRef<HTMLTextAreaElement>(null);
  const told = useRef(0);
  /** The draft that is shown now; undefined once this view is gone. */
  const shown = useRef<Draft>(undefined);
  const size = textBytes(words);
  const isTooLong = size > TEXT_BYTES;
  const hasDraft = draft.reply !== undefined || draft.edit !== undefined;
  useLayoutEffect(() => {
    shown.current = draft;
    return () => {
      shown.current = undefined;
    };
  }, [draft]);
  // Before the next frame: later it would overwrite what a quick hand has typed by then.
  useLayoutEffect(() => {
    if (draft.edit !== undefined) setWords(draft.edit.text);
    if (hasDraft) input.current?.focus();
  }, [draft, hasDraft]);
  useLayoutEffect(() => grow(input.current), [words]);
  useLayoutEffect(() => {
    if (draft.edit === undefined) unsent.set(room.id, words);
  }, [unsent, room.id, draft.edit, words]);

  const write = (now: string) => {
    setWords(now);
    if (now === "" || Date.now() - told.current < TYPING_MS) return;
    told.current = Date.now();
    room.signal("typing");
  };
  const send = () => {
    if (words.trim() === "" || isTooLong) return;
    void onSend(words).catch((error: unknown) => {
      putBack(draft, words, error instanceof RoomOver);
      throw error;
    });
    setWords(draft.edit !== undefined ? (unsent.get(room.id) ?? "") : "");
    told.current = 0;
    input.current?.focus();
  };
  /** What could not be said is nowhere else: other words may be written here by now, or in another room. */
  const putBack = ({ reply, edit }: Draft, said: string, isOver: boolean) => {
    const now = shown.current;
    const isFree = now !== undefined && (now === draft || !(now.reply || now.edit));
    if (edit !== undefined && isFree && !isOver) {
      onAgain({ edit: { ...edit, text: said } });
      return;
    }
    const back = (other = "") => (other === "" ? said : `${said}\n${other}`);
    unsent.set(room.id, back(unsent.get(room.id)));
    if (now?.edit === undefined) setWords(back);
    if (reply !== undefined && isFree) onAgain({ reply });
  };
  const cancel = () => {
    if (draft.edit !== undefined) setWords(unsent.get(room.id) ?? "");
    onCancel();
    input.current?.focus();
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key === "Escape" && hasDraft) cancel();
    // An input method's Enter only ends a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };
  const pasted = (event: ClipboardEvent) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 || onFiles === undefined) return;
    event.preventDefault();
    onFiles(files);
  };
  const mention = (name: string) => {
    write(words.replace(/@[^@\s]*$/u, `@${name} `));
    input.current?.focus();
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {hasDraft && <About draft={draft} people={people} onCancel={cancel} />}
      <Suggestions words={words} room={room} people={people} onChoose={mention} />
      {onFiles && <Attach onFiles={onFiles} />}
      <textarea
        ref={input}
        rows={1}
        autocomplete="off" // else the browser keeps what stands here, in clear: see parts.tsx
        dir="auto"
        aria-label={strings.write}
        placeholder={strings.write}
        value={words}
        onInput={(event) => write(event.currentTarget.value)}
        onKeyDown={pressed}
        onPaste={pasted}
      />
      <button type="submit" class="main" disabled={words.trim() === "" || isTooLong}>
        {draft.edit ? strings.save : strings.send}
      </button>
      {isTooLong && <Problem text={strings.tooLong(sizeName(size), sizeName(TEXT_BYTES))} />}
    </form>
  );
}

function Attach({ onFiles }: { onFiles: (files: readonly File[]) => void }): JSX.Element {
  const strings = useStrings();
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        class="attach"
        aria-label={strings.files.attach}
        title={strings.files.attach}
        onClick={() => input.current?.click()}
      >
        <Icon sign="attach" />
      </button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        onChange={({ currentTarget }) => {
          onFiles([...(currentTarget.files ?? [])]);
          currentTarget.value = ""; // the same file may be chosen again
        }}
      />
    </>
  );
}

interface SuggestionsProps extends Pick<ComposerProps, "room" | "people"> {
  readonly words: string;
  readonly onChoose: (name: string) => void;
}

/** After an @, the members whose names begin so. */
function Suggestions({ words, room, people, onChoose }: SuggestionsProps): JSX.Element | null {
  const strings = useStrings();
  const begun = /(?:^|\s)@([^@\s]*)$/u.exec(words)?.[1]?.toLowerCase();
  if (begun === undefined) return null;
  const names = room
    .members()
    .filter(({ isMe }) => !isMe)
    .map(({ mid }) => people(hex(mid)))
    .filter((name) => name.toLowerCase().startsWith(begun))
    .slice(0, SUGGESTIONS);
  if (names.length === 0) return null;
  return (
    <ul class="suggestions" aria-label={strings.mentionList}>
      {names.map((name) => (
        <li key={name}>
          <button type="button" onClick={() => onChoose(name)}>
            @<bdi>{name}</bdi>
          </button>
        </li>
      ))}
    </ul>
  );
}

function About({
  draft,
  people,
  onCancel,
}: Pick<ComposerProps, "draft" | "people" | "onCancel">): JSX.Element {
  const strings = useStrings();
  const { reply } = draft;
  return (
    <div class="about">
      <p>
        <strong>
          {reply ? strings.replyTo(authorOf(reply, people, strings)) : strings.editing}
        </strong>
        {reply && <bdi class="excerpt">{excerptOf(reply)}</bdi>}
      </p>
      <button type="button" onClick={onCancel}>
        {strings.cancel}
      </button>
    </div>
  );
}

/** As many lines as there are words for; the style sheet has the last say. */
function grow(input: HTMLTextAreaElement | null): void {
  if (input === null) return;
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight + 2}px`;
}
