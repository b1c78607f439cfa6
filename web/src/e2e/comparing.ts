/**
 * Comparing a secret phrase with another member (docs/protocol.md, A phrase): four steps.
 *
 *     initiator -- 1 --> responder -- 2 --> initiator -- 3 --> responder -- 4 --> initiator
 *
 * Both sides' keys, the relay, the run and who began it go into what is compared. The responder knows
 * the result with step 3, the initiator with step 4.
 */

import { utf8 } from "../protocol/bytes.ts";
import { taggedHash } from "../protocol/ids.ts";
import type { Member } from "../protocol/room.ts";
import { Comparator, ComparatorError } from "../themis/index.ts";
import type { Content } from "./bodies.ts";

/** Milliseconds that a run may take, from its first step on: both people are there. */
export const RUN_MS = 600_000;
/** Runs with one member in 24 hours: each is a guess at the phrase for whoever is at that end. */
export const RUNS_A_DAY = 3;
/** The shortest phrase taken. It is guessed online only, so it need not stand a search. */
export const PHRASE_CHARACTERS = 6;

const LAST_STEP = 4;
/** White space beside that of regular expressions, as Python has it. */
const MORE_SPACE = "\u001c\u001d\u001e\u001f\u0085";
const NO_SPACE = "\ufeff";
/** Its case folding keeps the capitals. */
const CHEROKEE = /[\u13a0-\u13fd\uab70-\uabbf]/u;

export type Step = Extract<Content, { type: "compare" }>;

export class PhraseTooShort extends Error {
  override readonly name = "PhraseTooShort";
}
/** The other side did not keep to the steps: this run is over, and nothing was learnt. */
export class ComparisonBroken extends Error {
  override readonly name = "ComparisonBroken";
}

/** Full case folding of one character, as Unicode's CaseFolding.txt has it. */
function folded(character: string): string {
  if (character === "ı") return character;
  if (character === "ẞ") return "ss";
  if (CHEROKEE.test(character)) return character.toUpperCase();
  return character.toUpperCase().toLowerCase();
}

const isSpace = (each: string) =>
  (/\s/u.test(each) && each !== NO_SPACE) || MORE_SPACE.includes(each);

/** The phrase without what people type differently: case, white space, forms of a character. */
export function normalPhrase(phrase: string): string {
  const one = [...phrase.normalize("NFKC")].map(folded).join("").normalize("NFKC");
  const spaced = [...one].map((each) => (isSpace(each) ? " " : each)).join("");
  const normal = spaced.split(" ").filter(Boolean).join(" ");
  if ([...normal].length < PHRASE_CHARACTERS) {
    throw new PhraseTooShort(`a phrase has at least ${PHRASE_CHARACTERS} characters`);
  }
  return normal;
}

/** What the two sides compare; the initiator stands first, so that nobody's own steps match. */
export const comparedSecret = (
  room: Uint8Array,
  relayId: Uint8Array,
  run: Uint8Array,
  [initiator, responder]: readonly [Member, Member],
  phrase: string,
): Uint8Array =>
  taggedHash(
    "cmp",
    room,
    initiator.mid,
    responder.mid,
    relayId,
    run,
    initiator.firstEncKey,
    responder.firstEncKey,
    utf8(normalPhrase(phrase)),
  );

/** One side of one run. Lives in memory alone: what Themis holds of it can not be stored. */
export class Comparison {
  private readonly core: Comparator;
  private expected: number;

  /** `begins`: this side is the initiator; call `begin` next, else `take` step 1. */
  constructor(
    readonly run: Uint8Array,
    readonly peer: Uint8Array,
    secret: Uint8Array,
    readonly begins: boolean,
  ) {
    this.core = new Comparator(secret);
    this.expected = begins ? 2 : 1;
  }

  /** Nothing that depends on the phrase was sent yet, and no step of the peer was taken. */
  get isFresh(): boolean {
    return this.expected === (this.begins ? 2 : 1);
  }

  /** Whether both phrases (and keys) are the same; undefined while the run is not over. */
  get result(): boolean | undefined {
    return this.core.result;
  }

  begin(): Step {
    return this.step(1, this.core.begin());
  }

  /** The answer to the peer's next step, if there is one; throws `ComparisonBroken`. */
  take(step: Step): Step | undefined {
    const expected = this.expected;
    this.expected = 0;
    if (step.step !== expected) throw new ComparisonBroken("a step came out of turn");
    const answer = this.proceed(step.data);
    if ((answer === undefined) !== (step.step === LAST_STEP)) {
      throw new ComparisonBroken("the comparison ended where it should not");
    }
    this.expected = expected + 2;
    return answer && this.step(step.step + 1, answer);
  }

  close(): void {
    this.core.close();
  }

  private step(step: number, data: Uint8Array): Step {
    return { type: "compare", run: this.run, to: this.peer, step, data };
  }

  private proceed(data: Uint8Array): Uint8Array | undefined {
    try {
      return this.core.proceed(data);
    } catch (error) {
      if (!(error instanceof ComparatorError)) throw error;
      throw new ComparisonBroken("a step was not well-formed");
    }
  }
}
