/**
 * Comparing a secret phrase with a member (ofcd/client/comparing.py): one run at a time with each,
 * begun by people only.
 *
 * Nothing here answers by itself: a run begins when the person at this end has typed the phrase, and
 * the other end's first step waits until then. Both may begin at once: the run whose first step
 * stands first in the room's log is the one that goes on. The phrase itself is never kept.
 */

import {
  Comparison,
  ComparisonBroken,
  comparedSecret,
  normalPhrase,
  RUN_MS,
  RUNS_A_DAY,
  type Step,
} from "../e2e/comparing.ts";
import type { Opened } from "../e2e/events.ts";
import { b64decode, b64encode, equal, fromHex, hex } from "../protocol/bytes.ts";
import { type Member, mayPost, memberOf } from "../protocol/room.ts";
import { randomBytes } from "../themis/index.ts";
import { type Draft, type RoomCore, unlessOver } from "./core.ts";
import type { Outbox } from "./outbox.ts";
import { json } from "./saved.ts";

const DAY_MS = 24 * 3_600_000;

/** How a run ended: "same" shows that each has the other's genuine keys. */
export type Outcome =
  | "same"
  | "different"
  | "expired"
  | "gone"
  | "given_up"
  | "restarted"
  | "moved"
  | "broken";

/** Why none can begin. */
export type Hindrance = "running" | "limit" | "forbidden";

export class ComparisonRefused extends Error {
  override readonly name = "ComparisonRefused";

  constructor(readonly why: Hindrance) {
    super(`a comparison can not begin: ${why}`);
  }
}

/** What must outlive the page, of the runs with one member. */
interface Kept {
  readonly begun: readonly number[];
  /** In hex; "" none. */
  readonly openRun: string;
}

/** A peer's first step that waits for the person here. */
interface Offer {
  readonly run: string;
  readonly until: number;
  readonly data: string;
}

/** The keys of a member that a phrase has shown to be genuine, and when. */
interface Proven {
  readonly signKey: string;
  readonly encKey: string;
  readonly ts: number;
}

/** A run under way. */
interface Open {
  comparison: Comparison;
  until: number;
  phrase: string;
  /** Of the event with our first step, where we are the initiator. */
  firstSid: string;
  /** Where that stands in the log, once it does; -1 before. */
  firstSeq: number;
  outcome: Outcome | undefined;
}

/** A record of comparisons for who is a new member now: how often it guessed still counts. */
export const runsOnly = (raw: Uint8Array): Uint8Array =>
  json.write({ ...json.read<Kept>(raw), openRun: "" } satisfies Kept);

export class CompareDesk {
  private readonly open = new Map<string, Open>();
  /** Runs that the last page left open, by member. */
  private readonly cutOff: Map<string, string>;

  constructor(
    private readonly core: RoomCore,
    private readonly outbox: Outbox,
  ) {
    const kept = core.vault.items(core.tables.compared);
    const runs = kept.map(([mid, raw]) => [mid, json.read<Kept>(raw).openRun] as const);
    this.cutOff = new Map(runs.filter(([, run]) => run !== ""));
    for (const [, raw] of core.vault.items(core.tables.offers)) {
      this.expireAt(json.read<Offer>(raw).until);
    }
  }

  /** When a phrase has shown that exactly these keys are genuine; undefined if none has. */
  provenAt({ mid, signKey, firstEncKey }: Member): number | undefined {
    const raw = this.core.vault.get(this.core.tables.proven, hex(mid));
    const found = raw && json.read<Proven>(raw);
    const isSame = found?.signKey === hex(signKey) && found.encKey === hex(firstEncKey);
    return isSame ? found.ts : undefined;
  }

  /** Whether this member's person waits for the phrase, until when; 0 if not. */
  askedUntil(mid: string): number {
    const raw = this.core.vault.get(this.core.tables.offers, mid);
    const until = raw === undefined ? 0 : json.read<Offer>(raw).until;
    return until > Date.now() ? until : 0;
  }

  /** Whether a run with this member is under way. */
  isOpen(mid: string): boolean {
    return this.open.has(mid);
  }

  // -- the person here -------------------------------------------------------------------------

  /**
   * The person here has typed the phrase: take the peer's first step, or make ours. Settles with how
   * it ended. Throws `PhraseTooShort`, `ComparisonRefused`; rejects with `RoomOver`.
   */
  async begin(mid: string, phrase: string): Promise<Outcome> {
    normalPhrase(phrase);
    let mine: Open | undefined;
    await this.core.change((draft) => {
      this.check(draft, mid);
      mine = this.start(draft, mid, phrase);
    });
    const run = mine as unknown as Open;
    this.outbox.pump();
    try {
      await this.core.until(() => run.outcome !== undefined);
    } finally {
      run.comparison.close();
    }
    return run.outcome as Outcome;
  }

  /** The person here waits no longer. */
  async giveUp(mid: string): Promise<void> {
    await this.core.change((draft) => {
      if (this.open.has(mid)) this.withdraw(draft, mid, "given_up");
    });
    this.outbox.pump();
  }

  /** The end of the log came to nothing: so did runs under way. Those that have ended stay true. */
  beginAnew(draft: Draft): void {
    for (const mid of [...this.open.keys()]) this.withdraw(draft, mid, "moved");
    const { offers } = this.core.tables;
    for (const [mid] of draft.turn.items(offers)) draft.turn.delete(offers, mid);
  }

  private check({ view, turn }: Draft, mid: string): void {
    const peer = view.state.members.get(mid);
    if (peer === undefined || mid === this.core.me || !this.maySend) {
      throw new ComparisonRefused("forbidden");
    }
    if (this.open.has(mid)) throw new ComparisonRefused("running");
    if (this.recent(turn, mid).length >= RUNS_A_DAY) throw new ComparisonRefused("limit");
  }

  private start(draft: Draft, mid: string, phrase: string): Open {
    const raw = draft.turn.get(this.core.tables.offers, mid);
    const waiting = raw && json.read<Offer>(raw);
    const offer = waiting && waiting.until > Date.now() ? waiting : undefined;
    const run = offer === undefined ? randomBytes(16) : fromHex(offer.run);
    const comparison = this.comparison(draft, run, mid, phrase, offer === undefined);
    const begun = [...this.recent(draft.turn, mid), Date.now()];
    this.keep(draft, mid, { begun, openRun: hex(run) });
    const until = offer?.until ?? Date.now() + RUN_MS;
    const made: Open = {
      comparison,
      until,
      phrase,
      firstSid: "",
      firstSeq: -1,
      outcome: undefined,
    };
    this.open.set(mid, made);
    this.expireAt(until);
    if (offer === undefined) made.firstSid = this.outbox.put(draft.turn, comparison.begin());
    else {
      draft.turn.delete(this.core.tables.offers, mid);
      const data = b64decode(offer.data);
      this.answer(draft, mid, { type: "compare", run, to: fromHex(this.core.me), step: 1, data });
    }
    return made;
  }

  private comparison(
    { view: { state } }: Draft,
    run: Uint8Array,
    mid: string,
    phrase: string,
    begins: boolean,
  ): Comparison {
    const peer = fromHex(mid);
    const [us, them] = [memberOf(state, fromHex(this.core.me)), memberOf(state, peer)];
    const pair = begins ? ([us, them] as const) : ([them, us] as const);
    const secret = comparedSecret(state.room, state.relayId, run, pair, phrase);
    return new Comparison(run, peer, secret, begins);
  }

  /** When runs with this member were begun, in the last 24 hours. */
  private recent(from: Pick<Draft["turn"], "get">, mid: string): readonly number[] {
    return this.kept(from, mid).begun.filter((ts) => Date.now() - ts < DAY_MS);
  }

  // -- the other end ---------------------------------------------------------------------------

  /** What stands in the log as entry `seq`. */
  heard(draft: Draft, seq: number, opened: Opened): void {
    const { content, mid } = opened.body;
    const sender = hex(mid);
    if (content.type !== "compare" && content.type !== "compare_end") return;
    if (sender === this.core.me) this.cameBack(seq, content);
    else if (hex(content.to) === this.core.me) {
      this.expire(draft);
      if (content.type === "compare_end") this.endedThere(draft, sender, hex(content.run));
      else if (content.step === 1) this.offered(draft, sender, opened, content);
      else this.answer(draft, sender, content);
    }
  }

  /** Our own first step: where it stands decides, if both ends begin at once. */
  private cameBack(seq: number, content: Opened["body"]["content"]): void {
    if (content.type !== "compare" || content.step !== 1) return;
    const mine = this.open.get(hex(content.to));
    if (mine !== undefined && equal(mine.comparison.run, content.run)) mine.firstSeq = seq;
  }

  /** The peer begins a run. */
  private offered(draft: Draft, mid: string, { event }: Opened, step: Step): void {
    const until = Math.min(event.ts, Date.now()) + RUN_MS;
    const mine = this.open.get(mid);
    if (Date.now() >= until || (mine && equal(mine.comparison.run, step.run))) return;
    const offer: Offer = { run: hex(step.run), until, data: b64encode(step.data) };
    if (mine === undefined) this.keepOffer(draft, mid, offer);
    else if (!(mine.comparison.begins && mine.comparison.isFresh)) {
      this.end(draft, mid, "given_up"); // they have forgotten the run under way
      this.keepOffer(draft, mid, offer);
    } else if (mine.firstSeq < 0 || event.seen.seq >= mine.firstSeq) {
      this.yieldTo(draft, mid, mine, step, until);
    }
  }

  /**
   * Both have begun: theirs goes on, and the person here has typed the phrase already. What was sent
   * of our own run depends on no phrase, so it was no guess.
   */
  private yieldTo(draft: Draft, mid: string, mine: Open, step: Step, until: number): void {
    if (mine.firstSid !== "") this.outbox.withdraw(draft.turn, mine.firstSid);
    mine.firstSid = "";
    mine.comparison.close();
    mine.comparison = this.comparison(draft, step.run, mid, mine.phrase, false);
    mine.until = until;
    this.keep(draft, mid, { ...this.kept(draft.turn, mid), openRun: hex(step.run) });
    this.answer(draft, mid, step);
  }

  /** Take a step of the run under way; one of any other run is passed over. */
  private answer(draft: Draft, mid: string, step: Step): void {
    const mine = this.open.get(mid);
    if (mine === undefined || !equal(mine.comparison.run, step.run)) return;
    const { comparison } = mine;
    try {
      const reply = comparison.take(step);
      mine.phrase = ""; // this run goes on to its end, or no other does
      if (reply !== undefined) this.send(draft, reply);
      const { result } = comparison;
      if (result !== undefined) this.end(draft, mid, result ? "same" : "different");
    } catch (error) {
      if (!(error instanceof ComparisonBroken)) throw error;
      this.withdraw(draft, mid, "broken");
    }
  }

  private endedThere(draft: Draft, mid: string, run: string): void {
    const { offers } = this.core.tables;
    const raw = draft.turn.get(offers, mid);
    if (raw !== undefined && json.read<Offer>(raw).run === run) draft.turn.delete(offers, mid);
    const mine = this.open.get(mid);
    if (mine !== undefined && hex(mine.comparison.run) === run) this.end(draft, mid, "given_up");
  }

  // -- time, and ends --------------------------------------------------------------------------

  /** End what the last page left open. Only while attached. */
  resume(): void {
    if (this.cutOff.size === 0) return;
    const runs = [...this.cutOff];
    this.cutOff.clear();
    const told = this.core.change((draft) => {
      for (const [mid, run] of runs) {
        this.sayEnd(draft, fromHex(run), mid, "restarted");
        if (!this.open.has(mid))
          this.keep(draft, mid, { ...this.kept(draft.turn, mid), openRun: "" });
      }
    });
    void told.then(() => this.outbox.pump()).catch(unlessOver);
  }

  private expireAt(until: number): void {
    const go = () => void this.core.change((draft) => this.expire(draft)).catch(unlessOver);
    this.core.later(go, Math.max(0, until - Date.now()) + 1);
  }

  private expire(draft: Draft): void {
    const now = Date.now();
    const { members } = draft.view.state;
    for (const [mid, { until }] of [...this.open]) {
      if (!members.has(mid)) this.end(draft, mid, "gone");
      else if (until <= now) this.end(draft, mid, "expired");
    }
    const { offers } = this.core.tables;
    for (const [mid, raw] of draft.turn.items(offers)) {
      if (json.read<Offer>(raw).until <= now) draft.turn.delete(offers, mid);
    }
  }

  /** End a run here, and tell the peer, who would wait. */
  private withdraw(draft: Draft, mid: string, outcome: Outcome): void {
    const mine = this.open.get(mid) as Open;
    const isUnsent = mine.firstSid !== "" && this.outbox.withdraw(draft.turn, mine.firstSid);
    if (!isUnsent) this.sayEnd(draft, mine.comparison.run, mid, outcome);
    this.end(draft, mid, outcome);
  }

  private sayEnd(draft: Draft, run: Uint8Array, mid: string, reason: Outcome): void {
    if (!draft.view.state.members.has(mid)) return;
    this.send(draft, { type: "compare_end", run, to: fromHex(mid), reason });
  }

  private end(draft: Draft, mid: string, outcome: Outcome): void {
    const mine = this.open.get(mid);
    this.open.delete(mid);
    this.keep(draft, mid, { ...this.kept(draft.turn, mid), openRun: "" });
    if (outcome === "same") {
      const { signKey, firstEncKey } = memberOf(draft.view.state, fromHex(mid));
      const proven: Proven = { signKey: hex(signKey), encKey: hex(firstEncKey), ts: Date.now() };
      draft.turn.put(this.core.tables.proven, mid, json.write(proven));
    }
    if (mine !== undefined) mine.outcome = outcome;
  }

  // -- keeping, sending ------------------------------------------------------------------------

  private get maySend(): boolean {
    const { myself, isActive } = this.core;
    return isActive && myself !== undefined && mayPost(myself);
  }

  private send({ turn }: Draft, content: Parameters<Outbox["put"]>[1]): void {
    if (this.maySend) this.outbox.put(turn, content);
  }

  private kept(from: Pick<Draft["turn"], "get">, mid: string): Kept {
    const raw = from.get(this.core.tables.compared, mid);
    return raw === undefined ? { begun: [], openRun: "" } : json.read<Kept>(raw);
  }

  private keep({ turn }: Draft, mid: string, kept: Kept): void {
    turn.put(this.core.tables.compared, mid, json.write(kept));
  }

  private keepOffer({ turn }: Draft, mid: string, offer: Offer): void {
    turn.put(this.core.tables.offers, mid, json.write(offer));
    this.expireAt(offer.until);
  }
}
