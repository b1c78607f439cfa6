/**
 * A HUB_MOVE by force that root has signed (docs/protocol.md, A hub that is gone for good): kept before
 * it is sent, and sent until its relay has answered. Nobody here knows before whether it stands.
 */

import type { Seen } from "../e2e/log.ts";
import { readMove } from "../e2e/moves.ts";
import { b64decode, b64encode, equal, fromHex, hex } from "../protocol/bytes.ts";
import { termOf } from "../protocol/room.ts";
import { eventId } from "../themis/index.ts";
import { type Link, LinkLost, RelayRefused } from "../wire/link.ts";
import { warn } from "./alarms.ts";
import { type Draft, isSamePlace, mark, type RoomCore, unlessOver } from "./core.ts";
import { makeHubMove, type Place, relocate } from "./moving.ts";
import { type MoveFault, NotMoved } from "./notmoved.ts";
import { AHEAD, type SavedPlace } from "./tables.ts";
import { told, toldOf } from "./told.ts";

/** Milliseconds for a relay that can not take it yet, and for its answer. */
const PATIENCE_MS = 60_000;
const ANSWER_MS = 75_000;
const PAUSE_MS = 2_000;
/** What the relay's refusal says of it. */
const FAULTS: Readonly<Record<string, MoveFault>> = {
  seen_stale: "copy_changed",
  hub_behind: "copy_changed",
  conflict: "copy_changed",
  fork: "other_log",
  wrong_relay: "other_meant",
  forbidden: "not_taken",
  quota: "moved_often",
};
/** The relay can not take it yet: its link to the hub so far may have more, or it is busy. */
const LATER = new Set(["try_again", "rate_limited", "storage_failed", "internal", "hub_away"]);
/** The link does not know this room: it is opened anew. */
const RELINK = new Set(["not_attached", "not_found"]);

export const placeFrom = ({ url, relayId }: SavedPlace): Place => ({
  url,
  relayId: fromHex(relayId),
});
export const savedPlace = ({ url, relayId }: Place): SavedPlace => ({ url, relayId: hex(relayId) });

export class ForceDesk {
  private isAsking = false;
  /** Until when a relay that can not take it yet is asked again. */
  private until = 0;
  /** What became of it, for who waits; undefined: nothing yet. */
  private outcome: "taken" | Error | undefined;
  private isAwaited = false;

  /** `taken`: it stands in the log of the new hub; what is void here is taken back. */
  constructor(
    private readonly core: RoomCore,
    private readonly taken: (record: Uint8Array) => void,
  ) {}

  /**
   * Sign that the room goes on at `hub`, where it is reached now, from what `seen` says on; settled once
   * it does. Rejects with `NotMoved`, `RelayRefused`, `Refused` or `RoomOver`.
   */
  async make(hub: Place, { seq, log }: Seen): Promise<void> {
    this.outcome = undefined;
    this.until = Date.now() + PATIENCE_MS;
    await this.core.change((draft) => {
      const { state, mine } = draft.view;
      const term = nextTerm(this.core, draft);
      const making = { state, mine, seen: { seq, log }, now: Date.now() };
      const { envelope } = makeHubMove(making, hub, { force: true, term });
      const forcing = { ...savedPlace(hub), record: b64encode(envelope) };
      mark(draft, { signedTerm: term, forcedTerm: term, forcing });
    });
    this.isAwaited = true;
    this.goOn();
    try {
      await this.answered();
    } finally {
      this.isAwaited = false;
    }
  }

  private async answered(): Promise<void> {
    const isAnswered = () => this.outcome !== undefined;
    await this.core.until(isAnswered, ANSWER_MS, { isFrozenToo: true }); // it may be thawed by this
    if (this.outcome === undefined) throw new NotMoved("unanswered");
    if (this.outcome !== "taken") throw this.outcome;
  }

  /** Send it, if it is not answered; to be called once it is known how far the relay is. */
  goOn(): void {
    const { link, marks, saved } = this.core;
    const { forcing } = marks;
    if (this.isAsking || link === undefined || forcing === undefined) return;
    if (!isSamePlace(saved, placeFrom(forcing))) return;
    this.isAsking = true;
    const record = b64decode(forcing.record);
    void this.ask(link, record)
      .catch(unlessOver)
      .finally(() => {
        this.isAsking = false;
      });
  }

  /** A HUB_MOVE was applied, in this turn: there is nothing left to send. */
  moved(draft: Draft): void {
    const { forcing } = draft.marks;
    if (forcing === undefined) return;
    mark(draft, { forcing: undefined, visiting: undefined });
    const id = eventId(readMove(b64decode(forcing.record)));
    this.outcome = equal(id, draft.view.state.ctl) ? "taken" : new NotMoved("copy_changed");
  }

  private async ask(link: Link, record: Uint8Array): Promise<void> {
    const { room } = this.core.view.state;
    try {
      await link.ask({ type: "control", room, record, boxes: [] });
      this.taken(record);
    } catch (error) {
      if (error instanceof LinkLost) return; // it may have it: the next link tells, or is asked
      if (!(error instanceof RelayRefused)) throw error;
      if (this.core.link !== link) return;
      if (RELINK.has(error.code)) link.close();
      else if (!LATER.has(error.code)) await this.giveUp(faultOf(error));
      else if (Date.now() < this.until) this.later(error.wait);
      else await this.giveUp(new NotMoved("copy_busy"));
    }
  }

  private later(wait: number): void {
    this.core.later(() => this.goOn(), Math.max(PAUSE_MS, wait));
  }

  /** The relay has refused it: it stands nowhere, and the room is reached where it was before. */
  private async giveUp(why: Error): Promise<void> {
    await this.core.change((draft) => {
      const { visiting } = draft.marks;
      mark(draft, { forcing: undefined, visiting: undefined });
      if (visiting !== undefined) relocate(draft, placeFrom(visiting));
      // Where the page was closed meanwhile, nobody waits for it.
      if (!this.isAwaited) warn(draft, told("move_failed", toldOf(why)));
    });
    this.outcome = why;
    this.core.changed();
  }
}

/** One more than any term that this member knows of, or has ever signed. */
function nextTerm({ vault, tables }: RoomCore, { view, marks }: Draft): number {
  const ahead = vault.get(tables.state, AHEAD);
  const told = ahead === undefined ? 0 : readMove(ahead).record.term;
  return Math.max(termOf(view.state), marks.signedTerm, told) + 1;
}

const faultOf = (error: RelayRefused): Error => {
  const fault = FAULTS[error.code];
  return fault === undefined ? error : new NotMoved(fault);
};
