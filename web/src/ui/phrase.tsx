/** Compare a secret phrase with a member: both type it, and learn only whether it is the same. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { ComparisonRefused, type Outcome } from "../client/comparing.ts";
import { RoomOver } from "../client/core.ts";
import type { Room } from "../client/room.ts";
import type { RoomMember } from "../client/roomview.ts";
import { PhraseTooShort } from "../e2e/comparing.ts";
import { hex } from "../protocol/bytes.ts";
import { Field, Problem } from "./parts.tsx";
import { type Strings, useStrings } from "./strings.ts";

interface PhraseProps {
  readonly room: Room;
  readonly member: RoomMember;
  readonly name: string;
}

export function Phrase({ room, member, name }: PhraseProps): JSX.Element {
  const { phrases } = useStrings();
  const [phrase, setPhrase] = useState("");
  const [outcome, setOutcome] = useState<Outcome>();
  const [problem, setProblem] = useState("");
  const mid = hex(member.mid);
  const isAsked = room.phrasesAsked().includes(mid);
  const isOpen = room.isComparing(mid);
  const go = async (event: Event) => {
    event.preventDefault();
    setProblem("");
    setOutcome(undefined);
    const typed = phrase;
    setPhrase("");
    try {
      setOutcome(await room.comparePhrase(mid, typed));
    } catch (error) {
      if (error instanceof RoomOver) return;
      setProblem(hindranceOf(error, phrases));
    }
  };
  return (
    <form class="phrase" onSubmit={go}>
      <p>{isAsked ? phrases.asked(name) : phrases.why(name)}</p>
      {isOpen ? (
        <>
          <p role="status">{phrases.waiting(name)}</p>
          <button type="button" onClick={() => void room.giveUpComparing(mid)}>
            {phrases.stop}
          </button>
        </>
      ) : (
        <>
          <Field label={phrases.phrase} value={phrase} onValue={setPhrase} isSecret />
          <button type="submit">{phrases.go}</button>
        </>
      )}
      {outcome === "same" && <p role="status">✓ {phrases.outcomes.same}</p>}
      <Problem
        text={
          problem || (outcome !== undefined && outcome !== "same" ? phrases.outcomes[outcome] : "")
        }
      />
    </form>
  );
}

function hindranceOf(error: unknown, phrases: Strings["phrases"]): string {
  if (error instanceof PhraseTooShort) return phrases.tooShort;
  if (error instanceof ComparisonRefused) return phrases.refused[error.why];
  throw error;
}
