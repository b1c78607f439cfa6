/**
 * Receipts: what this browser says has come here, where its person says nothing (docs/protocol.md,
 * Signals). In a small room a signal says so: at once on a new link, then now and then, one for all
 * that came meanwhile. Whoever comes back, and has said something that others are not known to
 * have, asks for theirs.
 */

import { Unreadable } from "../e2e/events.ts";
import { hashAt, type Seen, seenOf } from "../e2e/log.ts";
import { makeReceipt, openReceipt } from "../e2e/receipts.ts";
import { type Signal, sealSignal } from "../e2e/signals.ts";
import { equal, hex } from "../protocol/bytes.ts";
import { type Member, mayPost } from "../protocol/room.ts";
import { type Draft, mark, type RoomCore } from "./core.ts";

/** In a larger room nobody sends receipts: each goes to everybody. */
export const RECEIPT_MEMBERS = 16;
/** After how long a receipt goes out, how far several are apart, and between two of one's own. */
const SOON_MS = 1_000;
const SPREAD_MS = 2_000;
const EVERY_MS = 10_000;

/** `mid` has signed `seen`: if its log is ours there, it has every entry up to there. */
export function noteReached(draft: Draft, mid: string, seen: Seen): void {
  const { reached } = draft.marks;
  if (seen.seq <= (reached[mid] ?? -1)) return;
  const ours = hashAt(draft.view.log, seen.seq);
  if (ours === undefined || !equal(ours, seen.log)) return;
  mark(draft, { reached: { ...reached, [mid]: seen.seq } });
}

export class Receipts {
  private isFresh = true;
  private isPlanned = false;
  private isAsked = false;
  /** What was said before this link came up, and others are not known to have. */
  private asksFor = -1;
  private notBefore = 0;
  /** Receipts that came before the entries they are about. */
  private readonly ahead = new Map<string, Seen>();

  constructor(private readonly core: RoomCore) {}

  linkLost(): void {
    this.isFresh = true;
    this.isAsked = false;
    this.asksFor = -1;
  }

  /** Send one, if it is due; to be called after whatever came. */
  check(): void {
    if (!this.core.isLive) return;
    const atOnce = this.isFresh;
    this.isFresh = false;
    if (atOnce) this.asksFor = this.core.marks.ownSeq;
    this.takeAhead();
    if (!this.mayTell || !this.isDue || this.isPlanned) return;
    const now = Date.now();
    if (atOnce && now >= this.notBefore) this.send();
    else {
      const rest = Math.min(this.notBefore - now, EVERY_MS); // a clock may be put back
      this.plan(Math.max(SOON_MS + SPREAD_MS * Math.random(), rest));
    }
  }

  /** A signal that the relay says is of `member`; believed by its signature alone. */
  heard(member: Member, signal: Signal): void {
    try {
      const { seen } = openReceipt(this.core.view.state.room, member, signal.receipt);
      this.ahead.set(hex(member.mid), seen);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      return;
    }
    this.isAsked ||= signal.ask;
    this.check();
  }

  private takeAhead(): void {
    const { seq } = this.core.view.log;
    const here = [...this.ahead].filter(([, seen]) => seen.seq <= seq);
    if (here.length === 0) return;
    for (const [mid] of here) this.ahead.delete(mid);
    void this.core.change((draft) => {
      for (const [mid, seen] of here) noteReached(draft, mid, seen);
    });
  }

  private get mayTell(): boolean {
    const { view, myself, isActive } = this.core;
    const { state, keys } = view;
    const isSmall = state.members.size > 1 && state.members.size <= RECEIPT_MEMBERS;
    return (
      isSmall && isActive && keys.keys.has(state.epoch) && myself !== undefined && mayPost(myself)
    );
  }

  private get isDue(): boolean {
    const { marks, me } = this.core;
    return this.isAsked || this.wants || marks.othersSeq > (marks.reached[me] ?? -1);
  }

  /** Whether others are to be asked, once, for what they are not known to have. */
  private get wants(): boolean {
    const { marks, me, view } = this.core;
    return [...view.state.members].some(
      ([mid, member]) =>
        mid !== me &&
        mayPost(member) &&
        member.historyFrom <= this.asksFor &&
        (marks.reached[mid] ?? -1) < this.asksFor,
    );
  }

  private plan(delay: number): void {
    this.isPlanned = true;
    this.core.later(() => {
      this.isPlanned = false;
      if (this.core.isLive && this.mayTell && this.isDue) this.send();
    }, delay);
  }

  private send(): void {
    const { link, view, me } = this.core;
    const { state, keys, mine, log } = view;
    const [seen, ts] = [seenOf(log), Date.now()];
    const receipt = makeReceipt(state.room, mine, seen, ts).envelope;
    const signal = { kind: "seen", ts, receipt, ask: this.wants };
    this.isAsked = false;
    this.asksFor = -1;
    this.notBefore = ts + EVERY_MS;
    const cell = sealSignal(state.room, state.epoch, keys, mine.mid, signal);
    link?.tell({ type: "signal", room: state.room, epoch: state.epoch, cell });
    void this.core.change((draft) => noteReached(draft, me, seen));
  }
}
