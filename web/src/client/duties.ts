/**
 * What a member owes a room without being asked: owners renew its key and give it to who lacks it
 * (ofcd/client/duties.py, ofcd/client/keydesk.py).
 *
 * Every owner's client sees the same duty at the same moment. So that they do not all act at once,
 * root goes first and co-owners follow one after another, each only if it is still due.
 */

import { KeyMissing, KeyRejected } from "../e2e/epochs.ts";
import { holdsOwnKey } from "../e2e/keys.ts";
import {
  isSpent,
  makeBoxedRekey,
  makeKeyAnswer,
  makeKeyRequest,
  makeRekey,
  openKeyAnswer,
  rekeyDue,
} from "../e2e/rekeying.ts";
import { hex } from "../protocol/bytes.ts";
import { ROOM_MEMBERS } from "../protocol/limits.ts";
import { isRefusal } from "../protocol/room.ts";
import type { Signed } from "../themis/index.ts";
import { LinkLost, RelayRefused } from "../wire/link.ts";
import { unlessRefused } from "./admissions.ts";
import { warn } from "./alarms.ts";
import type { ControlDesk } from "./controldesk.ts";
import type { Draft, RoomCore } from "./core.ts";
import { told, toldOf } from "./told.ts";

const RANK_STEP_MS = 20_000;
const RANK_SPREAD_MS = 10_000;
const ASK_AGAIN_MS = 600_000;
/** After which a key is asked for again, where the answer crossed an UPDATE_E. */
const CROSSED_MS = 30_000;
const OWNER_PATIENCE_MS = 60_000;
/** How many times as old as it should be a key is when it is told of. */
const OVERDUE = 2;
const HOUR_MS = 3_600_000;
const KEY_OLD = told("key_old");

export class Duties {
  /** The epoch for which a renewal is planned. */
  private planned = -1;
  /** The epoch of which it was told that its key is old. */
  private warned = -1;
  private request: Signed | undefined;
  private askedAt = 0;
  private askedEpoch = -1;
  private missingSince = 0;
  /** KEY_REQs not answered yet: the relay shows one of a member. */
  private asking: Uint8Array[] = [];

  constructor(
    private readonly core: RoomCore,
    private readonly controls: ControlDesk,
    /** Opens what waited for a key. */
    private readonly release: (draft: Draft) => Promise<void>,
  ) {}

  linkLost(): void {
    this.request = undefined;
    this.planned = -1;
    this.asking = [];
  }

  /** Do what is due; to be called after whatever came, and now and then. */
  check(): void {
    if (!this.core.isLive) return;
    this.warnOfOldKey(Date.now());
    this.renew();
    this.askForKey();
  }

  private get isDue(): boolean {
    const { core } = this;
    const { said, since } = core.marks;
    const head = core.view.log.seq;
    const { state, mine } = core.view;
    if (!core.isOwner || !holdsOwnKey(state, mine, core.me)) return false;
    if (isSpent({ state, mine }) && !state.closed) return true;
    return rekeyDue(state, { head, said, since, now: Date.now() });
  }

  /** Once an epoch: its key should be long gone, and no owner came to renew it. */
  private warnOfOldKey(now: number): void {
    const { marks, view } = this.core;
    const { state, log } = view;
    if (this.warned === state.epoch) return;
    this.core.alarms.settle((alarm) => alarm === KEY_OLD);
    const { rotate_after, rotate_hours } = state.policy;
    const entries = log.seq - state.epochSeq;
    const byTime = now - marks.since >= OVERDUE * rotate_hours * HOUR_MS;
    if (marks.said <= state.epochSeq || !(entries >= OVERDUE * rotate_after || byTime)) return;
    this.warned = state.epoch;
    this.core.alarms.raise(KEY_OLD);
  }

  private renew(): void {
    const { epoch } = this.core.view.state;
    if (!this.isDue || this.planned === epoch || this.controls.has("rekey")) return;
    this.planned = epoch;
    const go = () => {
      const make = () => (this.isDue ? this.makeRekey() : undefined);
      void this.controls
        .run("rekey", make)
        .catch(unlessRefused)
        .finally(() => {
          this.planned = -1;
        });
    };
    const rank = this.rank();
    if (rank === 0) go();
    else this.core.later(go, rank * RANK_STEP_MS + RANK_SPREAD_MS * Math.random());
  }

  makeRekey() {
    return makeRekey(this.controls.making, this.core.view.keys);
  }

  /** 0 for root; co-owners from 1 on, in an order that all of them compute alike. */
  private rank(): number {
    const { state } = this.core.view;
    if (hex(state.root) === this.core.me) return 0;
    const others = [...state.members].filter(([, { role }]) => role === "co-owner");
    return (
      1 +
      Math.max(
        0,
        others
          .map(([mid]) => mid)
          .sort()
          .indexOf(this.core.me),
      )
    );
  }

  // -- keys that did not come --------------------------------------------------------------------

  private askForKey(): void {
    const { state, keys, mine } = this.core.view;
    const now = Date.now();
    // What is boxed for a key that is not here, or by it, would not open: it is renewed first.
    if (!holdsOwnKey(state, mine, this.core.me)) return;
    if (keys.keys.has(state.epoch)) {
      this.missingSince = 0;
      for (const envelope of this.asking.splice(0)) this.give(envelope);
      return;
    }
    this.missingSince ||= now;
    const isPatient = now - this.missingSince < OWNER_PATIENCE_MS;
    if (this.core.isOwner && !isPatient && !this.controls.has("rekey")) {
      const make = () => makeBoxedRekey(this.controls.making, [], "key lost");
      void this.controls.run("rekey", make).catch(unlessRefused);
    }
    // Who lacks one key lacks those that follow it: each is asked for, as the relay forgets the last.
    const isAsked = this.request !== undefined && this.askedEpoch === state.epoch;
    if (isAsked && now - this.askedAt < ASK_AGAIN_MS) return;
    this.askedEpoch = state.epoch;
    this.request = makeKeyRequest(state, mine, now);
    this.askedAt = now;
    const { envelope } = this.request;
    this.tell({ type: "key_request", room: state.room, record: envelope });
  }

  /**
   * A member asks for the current key: it is answered once all is here that came before. Its key, or
   * this one's, may have been renewed in what is still to come.
   */
  asked(envelope: Uint8Array): void {
    this.asking = [...this.asking, envelope].slice(-ROOM_MEMBERS);
    this.check();
  }

  /** Give it the current key, if it is a member and this is an owner. */
  private give(envelope: Uint8Array): void {
    const { state, mine, keys } = this.core.view;
    try {
      const { record, box } = makeKeyAnswer(state, mine, keys, envelope);
      this.tell({ type: "key_answer", room: state.room, record, box });
    } catch (error) {
      if (!isRefusal(error) && !(error instanceof KeyMissing)) throw error;
    }
  }

  /** An owner's answer: adopt the key, if the control log commits to it. */
  answered(envelope: Uint8Array, box: Uint8Array): Promise<void> {
    return this.core.change(async (draft) => {
      const { state, mine, keys } = draft.view;
      if (this.request === undefined || keys.keys.has(state.epoch)) return;
      try {
        const found = openKeyAnswer(state, mine, keys, this.request, envelope, box);
        draft.view = { ...draft.view, keys: found };
        this.request = undefined;
      } catch (error) {
        if (!(error instanceof KeyRejected)) throw error;
        if (error.fault === "cannot_open") {
          // Boxed for or by a key that was renewed a moment before.
          this.askedAt = Math.min(this.askedAt, Date.now() - ASK_AGAIN_MS + CROSSED_MS);
        } else if (error.fault !== "other_request") {
          warn(draft, toldOf(error));
        }
        return;
      }
      await this.release(draft);
    });
  }

  /** What is refused, or lost with the link, is asked again in time. */
  private tell(request: Parameters<NonNullable<RoomCore["link"]>["ask"]>[0]): void {
    void this.core.link?.ask(request).catch((error: unknown) => {
      if (!(error instanceof LinkLost || error instanceof RelayRefused)) throw error;
    });
  }
}
