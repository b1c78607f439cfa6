/** Where one writes: Enter sends, Shift+Enter begins a new line. */

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import type { Entry } from "../client/entries.ts";
import { excerptOf, sizeName, TEXT_BYTES, textBytes } from "./format.ts";
import { Problem } from "./parts.tsx";
import { authorOf, type People } from "./people.ts";
import { useStrings } from "./strings.ts";

/** What the next words are about, if they are not simply said. */
export interface Draft {
  readonly reply?: Entry;
  readonly edit?: Entry;
}

interface ComposerProps {
  readonly draft: Draft;
  readonly people: People;
  readonly onSend: (words: string) => void;
  readonly onCancel: () => void;
}

export function Composer({ draft, people, onSend, onCancel }: ComposerProps): JSX.Element {
  const strings = useStrings();
  const [words, setWords] = useState("");
  const input = useRef<HTMLTextAreaElement>(null);
  const size = textBytes(words);
  const isTooLong = size > TEXT_BYTES;
  const hasDraft = draft.reply !== undefined || draft.edit !== undefined;

  // Before the next frame: later it would overwrite what a quick hand has typed by then.
  useLayoutEffect(() => {
    if (draft.edit !== undefined) setWords(draft.edit.text);
    if (hasDraft) input.current?.focus();
  }, [draft, hasDraft]);
  useLayoutEffect(() => grow(input.current), [words]);

  const send = () => {
    if (words.trim() === "" || isTooLong) return;
    onSend(words);
    setWords("");
    input.current?.focus();
  };
  const cancel = () => {
    if (draft.edit !== undefined) setWords("");
    onCancel();
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key === "Escape" && hasDraft) cancel();
    // An input method's Enter only ends a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
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
      <textarea
        ref={input}
        rows={1}
        dir="auto"
        aria-label={strings.write}
        placeholder={strings.write}
        value={words}
        onInput={(event) => setWords(event.currentTarget.value)}
        onKeyDown={pressed}
      />
      <button type="submit" class="main" disabled={words.trim() === "" || isTooLong}>
        {draft.edit ? strings.save : strings.send}
      </button>
      {isTooLong && <Problem text={strings.tooLong(sizeName(size), sizeName(TEXT_BYTES))} />}
    </form>
  );
}

function About({ draft, people, onCancel }: Omit<ComposerProps, "onSend">): JSX.Element {
  const strings = useStrings();
  const { reply } = draft;
  return (
    <div class="about">
      <p>
        <strong>{reply ? strings.replyTo(authorOf(reply, people)) : strings.editing}</strong>
        {reply && <span class="excerpt">{excerptOf(reply)}</span>}
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
