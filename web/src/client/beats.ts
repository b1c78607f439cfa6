/**
 * Beats: after a silence, somebody says how far they have seen the log (ofcd/client/beats.py), so
 * that a relay which cuts off its end, or shows two members two ends, is found out.
 *
 * One beat is enough, and nobody waits to be the first: each waits for a random time, of which long
 * ones are more likely the more members there are, so that the shortest stands alone.
 */

import { mayPost } from "../protocol/room.ts";
import { type Draft, mark, type RoomCore, unlessOver } from "./core.ts";
import type { Outbox } from "./outbox.ts";
import type { Marks } from "./tables.ts";

/** In a room of two nobody beats: what one has said, only the other could confirm, and answers. */
export const LEAST_MEMBERS = 3;
/** Milliseconds among which members choose when to beat. */
export const SPREAD_MS = 300_000;
const MINUTE_MS = 60_000;

/** What is looked at of a verified entry; undefined where nothing of it is verified. */
export interface Ending {
  /** A beat, or UPDATE_E: it confirms what came before, and says nothing. */
  readonly isBeat: boolean;
  readonly isMine: boolean;
  /** How far its sender had seen the log; -1 where it does not say. */
  readonly seen: number;
}

/** Entry `seq` is the end of the log now. */
export function noteEnd(draft: Draft, seq: number, entry: Ending | undefined): void {
  const { unconfirmed } = draft.marks;
  const confirms = entry !== undefined && entry.seen >= unconfirmed;
  const confirmed: Partial<Marks> = confirms ? { unconfirmed: -1 } : {};
  if (entry?.isBeat) mark(draft, confirmed);
  else if (entry?.isMine) mark(draft, { said: seq, ...confirmed });
  else mark(draft, { said: seq, unconfirmed: seq, unconfirmedSince: Date.now() });
}

/** From a truncated exponential distribution: of `count` members few are early. */
export const delayOf = (count: number, random = Math.random()): number =>
  Math.floor((SPREAD_MS * Math.log(1 + random * (count - 1))) / Math.log(count));

export class BeatDuty {
  /** The entry that the next beat would confirm. */
  private of = -1;
  private stop: () => void = () => undefined;

  constructor(
    private readonly core: RoomCore,
    private readonly outbox: Outbox,
  ) {}

  /** On the next link choose anew: everybody else comes back too. */
  linkLost(): void {
    this.stop();
    this.of = -1;
  }

  /** Choose when to beat, if there is something to confirm; after whatever came. */
  check(): void {
    const { unconfirmed, unconfirmedSince } = this.core.marks;
    if (!this.core.isLive || unconfirmed < 0 || !this.mayBeat) {
      this.linkLost();
      return;
    }
    if (this.of === unconfirmed) return;
    this.stop();
    this.of = unconfirmed;
    const { policy, members } = this.core.view.state;
    const silentFrom = unconfirmedSince + policy.beat_minutes * MINUTE_MS;
    const due = Math.max(silentFrom, Date.now()) + delayOf(members.size);
    this.stop = this.core.later(() => void this.beat().catch(unlessOver), due - Date.now());
  }

  private get mayBeat(): boolean {
    const { myself, view } = this.core;
    const { state, keys } = view;
    return (
      state.policy.beat_minutes > 0 &&
      state.members.size >= LEAST_MEMBERS &&
      myself !== undefined &&
      mayPost(myself) &&
      keys.keys.has(state.epoch)
    );
  }

  private async beat(): Promise<void> {
    if (this.core.marks.unconfirmed !== this.of) return;
    if (this.outbox.isBusy)
      this.of = -1; // what waits there says as much
    else await this.outbox.send({ type: "beat" });
  }
}
