/**
 * A room on a link: attached there, caught up with, and asked for again where its relay does not take
 * it in. What a relay says of how far it is, is looked at before anything follows from it.
 */

import { makeAttach } from "../e2e/controls.ts";
import { checkAdmitted, JoinRejected } from "../e2e/joining.ts";
import { isKnown, resumedLog } from "../e2e/log.ts";
import { equal, hex } from "../protocol/bytes.ts";
import { NO_HUB, type RelayFrame } from "../protocol/frames.ts";
import type { ControlRecord } from "../protocol/records.ts";
import { hubOf, isRefusal, type RoomState } from "../protocol/room.ts";
import { type Link, RelayRefused, unlessLost } from "../wire/link.ts";
import { warn } from "./alarms.ts";
import { chainOfRoom } from "./chainpages.ts";
import {
  amend,
  type Draft,
  isEvicted,
  isFrozenByWord,
  MAYBE_BACK,
  mark,
  type RoomCore,
  RoomOver,
  unlessOver,
} from "./core.ts";
import type { ForcedMoves } from "./forcedmoves.ts";
import type { Homes } from "./homes.ts";
import { COPY_BEHIND, isCopy, Lag, misfitOf } from "./lagging.ts";
import type { Ledger } from "./ledger.ts";
import type { Outbox } from "./outbox.ts";
import type { SavedRoom } from "./saved.ts";
import { refusedWith, type Told, told, toldOf } from "./told.ts";
import { VaultError } from "./vault.ts";

const PROBE_MS = 5_000;
/** Until a relay is asked again that says we are out, and does not prove it. */
const REMOVED_AGAIN_MS = 10_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 600_000;
/** Answers about this room alone that may be others in a while: the link serves the rest on. */
const LATER = new Set(["rate_limited", "try_again", "storage_failed", "internal", "hub_away"]);
/** Answers that another attempt would get too. */
const REFUSALS = new Set([
  "not_found",
  "forbidden",
  "evicted",
  "left",
  "room_closed",
  "quota",
  "wrong_relay",
  "bad_key",
  "bad_record",
  "too_large",
]);

type FrameOf<T extends RelayFrame["type"]> = Extract<RelayFrame, { type: T }>;

/** What takes part in it. */
interface Parts {
  readonly forced: ForcedMoves;
  readonly homes: Homes;
  readonly ledger: Ledger;
  readonly outbox: Outbox;
}

interface Listeners {
  /** A control record of a stretch that is not delivered any more was applied, in this turn. */
  control(draft: Draft, record: ControlRecord): void;
  /** All is here that the relay has; the room is live. */
  caughtUp(link: Link): Promise<void>;
  /** It is known how far the relay's copy has come, which is not as far as what is here. */
  behind(): void;
  /** What was under way on the link is over with it. */
  lost(): void;
}

export class Attaching {
  /** Milliseconds until the relay is asked again, where it could not take the room in. */
  private pause = FIRST_PAUSE_MS;
  private readonly lag = new Lag();
  /** Attach on this link once more, after so many milliseconds; the last one to say so counts. */
  private attachAgain: (delay: number) => void = () => undefined;
  private stopWaiting: () => void = () => undefined;
  /** Another one each time. */
  private attempt = {};

  constructor(
    private readonly core: RoomCore,
    private readonly parts: Parts,
    private readonly listeners: Listeners,
  ) {
    core.misfit = (word) => this.wait(word);
  }

  private get saved(): SavedRoom {
    return this.core.saved;
  }

  private get state(): RoomState {
    return this.core.view.state;
  }

  /** Attach, catch up, and follow from then on; rejects with `LinkLost`. */
  async attach(link: Link, transportKey: Uint8Array): Promise<void> {
    // Who was evicted, or has a frozen room, asks too: for the moves by force that it may be told.
    const mayAsk = this.saved.status !== "removed" || isEvicted(this.saved);
    if (!mayAsk || this.core.isOver) return;
    this.core.link = link;
    this.attachAgain = (delay) => this.attachLater(link, transportKey, delay);
    this.stopWaiting();
    const { mine, state } = this.core.view;
    const { challenge } = link.welcome;
    const proof = makeAttach(state.room, mine, {
      transportKey,
      relayId: this.saved.relayId,
      challenge,
    });
    this.core.refusal = "";
    try {
      if (isFrozenByWord(this.core)) await this.goOn();
      await this.create(link);
      if (this.core.link !== link) return;
      const hub = this.core.isAway ? { hub: hubOf(state), hub_url: this.saved.hubUrl } : NO_HUB;
      const asked = link.ask({ type: "attach", record: proof.envelope, ...hub });
      const answer = await this.parts.forced.before(asked);
      if (this.core.link !== link) return; // it has gone to another relay meanwhile
      if (answer.type !== "attached" || answer.counter > answer.seq) link.close();
      else {
        const standing = await this.standing(link, answer);
        this.parts.forced.behindAt =
          standing === "behind" || standing === "frozen"
            ? { seq: answer.seq, log: answer.log }
            : undefined;
        if (standing === "frozen") {
          this.core.changed(); // who looks at what the relay has waits for this
          this.listeners.behind();
        } else if (standing === "behind") {
          this.wait(
            this.misfit(answer.seq < this.core.knownEnd ? "hub_behind" : "fork", answer.seq),
          );
          this.listeners.behind();
        } else if (standing === "whole") await this.sync(link, answer);
      }
      this.pause = FIRST_PAUSE_MS;
    } catch (error) {
      if (error instanceof RelayRefused) {
        if (this.core.link === link)
          await this.refused(link, error).catch((it) => this.core.failed(it));
      } else if (error instanceof VaultError || error instanceof RoomOver) this.core.failed(error);
      else throw error;
    }
  }

  /** It tells, without proof, that this member was removed. */
  unproven(code: string): void {
    this.core.refusal = refusedWith(code);
    this.attachAgain(REMOVED_AGAIN_MS);
  }

  /** An earlier version had frozen it by the relay's word. */
  private goOn(): Promise<void> {
    return this.core.change((draft) => amend(draft, { status: "active", reason: "", code: "" }));
  }

  private misfit(code: string, end: number): Told {
    return misfitOf(this.state, this.saved.relayId, code, end);
  }

  /** It does not fit, and proves nothing: the relay is asked again, and nothing is sent until it does. */
  private wait(word: Told): void {
    if (this.core.link === undefined || !this.core.isActive) return;
    const now = Date.now();
    this.core.isLive = false;
    this.attachAgain(this.lag.again(now));
    const isFollower = isCopy(this.state, this.saved.relayId, this.state.seq);
    if (this.lag.tells(word, now, isFollower || word === COPY_BEHIND)) this.core.alarms.raise(word);
    this.core.refusal = word;
    this.core.changed();
  }

  private attachLater(link: Link, transportKey: Uint8Array, delay: number): void {
    const again = () => {
      if (this.core.link === link) void this.attach(link, transportKey).catch(unlessLost);
    };
    this.stopWaiting();
    this.stopWaiting = this.core.later(again, delay);
  }

  /**
   * Whether the log at this link is as long as the one that is known here, and goes on from it; or is
   * one that may yet come to that. Undefined: neither. In a frozen room it is only known how long it is.
   */
  private async standing(
    link: Link,
    { seq, log }: FrameOf<"attached">,
  ): Promise<"whole" | "behind" | "frozen" | undefined> {
    let standing: "whole" | "behind" | "frozen" | undefined;
    await this.core.enqueue(async () => {
      const known = this.core.view.log;
      // That relay was left meanwhile, or something was proven: no answer takes that back.
      if (this.core.link !== link) return;
      // Nothing is read on; but root may have the room go on from what that relay has, if that is here.
      if (this.saved.status === "frozen" && seq <= known.seq) standing = "frozen";
      if (this.saved.status !== "active") return;
      const isOther = seq === known.seq && isKnown(known) && !equal(log, known.log);
      if (isOther || seq < this.core.knownEnd) {
        standing = "behind";
        return;
      }
      if (this.saved.code === MAYBE_BACK) {
        await this.core.commit((draft) => {
          amend(draft, { code: "" });
          warn(draft, told("removal_void"));
        });
      }
      standing = "whole";
    });
    return this.core.link === link ? standing : undefined;
  }

  /** Is anybody still there? A link that died while the device slept shows it only when asked. */
  probe(): void {
    const { room, seq } = this.state;
    const request = { type: "chain_get", room, start: seq + 1 } as const;
    void this.core.link?.ask(request, PROBE_MS).catch((error: unknown) => {
      if (!(error instanceof RelayRefused)) unlessLost(error);
    });
  }

  /** It goes to another link; the one that it is on may serve other rooms. */
  leaveLink(): void {
    const { link } = this.core;
    const { room } = this.state;
    this.detach();
    void link?.ask({ type: "detach", room }).catch((error: unknown) => {
      if (!(error instanceof RelayRefused)) unlessLost(error);
    });
  }

  detach(): void {
    this.stopWaiting();
    this.core.refusal = "";
    this.core.link = undefined;
    this.parts.forced.behindAt = undefined;
    this.listeners.lost();
    this.core.isLive = false;
  }

  /** A founder's room, until the relay has its GENESIS. */
  private async create(link: Link): Promise<void> {
    const { genesis, createToken: token } = this.saved;
    if (genesis === undefined) return;
    try {
      await link.ask({ type: "create", record: genesis, token });
    } catch (error) {
      if (error instanceof RelayRefused && REFUSALS.has(error.code)) {
        const reason = toldOf(error);
        await this.core.change((draft) => amend(draft, { status: "removed", reason }));
      }
      throw error;
    }
    await this.core.change((draft) => amend(draft, { genesis: undefined, createToken: "" }));
  }

  private async sync(link: Link, attached: FrameOf<"attached">): Promise<void> {
    const known = this.core.view.log;
    const { seq } = known;
    const { room } = this.state;
    const attempt = {};
    this.attempt = attempt;
    this.parts.ledger.begin();
    // Deliveries may come before `synced` is looked at: they wait in the queue behind this.
    const log = isKnown(known) ? known.log : undefined;
    const answered = link.ask({ type: "sync", room, start: seq + 1, log });
    let [head, isLog] = [seq, false];
    const caughtUp = this.core.enqueue(async () => {
      const synced = (await answered) as FrameOf<"synced">;
      if (this.core.link !== link) return;
      head = synced.head;
      const from = Math.max(synced.start, synced.floor);
      isLog = from <= head + 1 && (from > seq || log !== undefined);
      if (!isLog)
        link.close(); // it begins behind its end: that is no log; or not where it was asked to
      else if (from > seq + 1) await this.skip(link, synced);
      else if (log === undefined) await this.begin(synced);
    });
    await answered;
    await caughtUp;
    if (!isLog) return;
    const isPast = () => this.core.link !== link || this.attempt !== attempt;
    // What an owner does, it does for the room as it is now.
    await this.core.until(() => this.core.view.log.seq >= head || isPast()).catch(unlessOver);
    if (isPast() || this.core.isOver) return;
    await this.takeUp(attached);
    if (isPast()) return;
    if (!this.core.isDoubted) this.lag.over();
    this.core.isLive = true;
    await this.listeners.caughtUp(link);
  }

  /** What L is where the log goes on: only the relay knows that, as of any stretch that is not here. */
  private begin({ log }: FrameOf<"synced">): Promise<void> {
    return this.core.commit((draft) => {
      const { room, seq } = draft.view.log;
      draft.view = { ...draft.view, log: resumedLog(room, seq, log) };
    });
  }

  /**
   * Go on after one's own last event, though it came in a stretch that is gone at the relay. Only the
   * relay's word says which that was: where nothing of one's time here was missed, it is not asked.
   */
  private async takeUp({ counter, last }: FrameOf<"attached">): Promise<void> {
    const { myself, view, marks } = this.core;
    const known = Math.max(marks.ownCounter, view.senders.get(this.core.me)?.counter ?? 0);
    const hasMissed = myself !== undefined && view.log.start > myself.joinedSeq;
    const own = hasMissed && counter > known ? last : undefined;
    if (own === undefined && !marks.recounts) return;
    await this.core.change((draft) => {
      if (own !== undefined) this.parts.outbox.takeUp(draft, counter, own);
      mark(draft, { recounts: false });
    });
  }

  /** The relay no longer keeps what was missed: the control log tells who is here, the rest is gone. */
  private async skip(link: Link, { start, floor, log }: FrameOf<"synced">): Promise<void> {
    const from = Math.max(start, floor);
    const { room } = this.state;
    const missed = await chainOfRoom(link, room, this.state.seq + 1);
    if (this.core.link !== link) return;
    const senders = new Map(
      [...this.core.view.senders].map(([mid, head]) => [mid, { ...head, certain: false }]),
    );
    try {
      await this.core.commit(async (draft) => {
        draft.view = { ...draft.view, senders, log: resumedLog(room, from - 1, log) };
        // It goes on from the state held: no relay can unsay by leaving out what is known.
        for (const [seq, envelope] of missed) {
          if (seq < from)
            this.listeners.control(draft, this.parts.ledger.applyMissed(draft, seq, envelope));
        }
        const { state, mine } = draft.view;
        if (state.members.has(hex(mine.mid))) checkAdmitted(state, mine);
        await this.parts.ledger.release(draft);
      });
    } catch (error) {
      if (error instanceof JoinRejected) await this.core.freeze(toldOf(error), from - 1);
      else if (isRefusal(error)) this.wait(told("unverifiable", toldOf(error)));
      else throw error;
    }
  }

  /** The relay does not take the room in: for now, on this link, or as far as it is asked. */
  private async refused(link: Link, { code, wait, failure }: RelayRefused): Promise<void> {
    this.core.isLive = false;
    if (LATER.has(code)) {
      const delay = Math.max(this.pause, wait);
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
      this.attachAgain(delay);
    } else if (code === "fork" || code === "hub_behind") {
      this.wait(this.misfit(code, failure.seq ?? this.core.view.log.seq));
      return;
    } else if (code === "wrong_relay" && this.core.isAway && this.saved.moving !== undefined) {
      await this.parts.homes.goToHub(); // HOME is in the log, and this relay alone has seen it
      return;
    } else if (!REFUSALS.has(code)) {
      link.close(); // the next one may do better
      return;
    }
    this.core.refusal = refusedWith(code); // the relay's word alone: the next link asks again
    this.core.changed();
  }
}
