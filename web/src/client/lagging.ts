/**
 * A relay whose copy of a room is behind what is known here: how long it is waited for
 * (ofcd/client/lagging.py).
 *
 * Only the room's hub can have lost entries. A relay that follows it may be about to get them, or hold
 * its people in the past on purpose: so after a while they are told.
 */

import { equal } from "../protocol/bytes.ts";
import { hubOf, type RoomState } from "../protocol/room.ts";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** So long a copy may be behind before its person is alarmed. */
const PATIENCE_MS = 300_000;

/**
 * Whether a relay whose log ends at `end` only follows the room, as far as is known here. So does one
 * that the room was moved to, until it has stored that record.
 */
export const isCopy = (state: RoomState, relayId: Uint8Array, end: number): boolean =>
  !equal(relayId, hubOf(state)) || end < (state.moved.at(-1)?.since ?? 0);

/** How long one room's relay has been behind; a new link does not make it begin anew. */
export class Lag {
  private pause = FIRST_PAUSE_MS;
  private since: number | undefined;
  private isTold = false;

  /** It is behind at `now`: how many milliseconds to wait before it is asked again. */
  behind(now: number): number {
    this.since ??= now;
    const { pause } = this;
    this.pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    return pause;
  }

  /** Whether a person should hear of it: true once. */
  isLong(now: number): boolean {
    const isDue = !this.isTold && this.since !== undefined && now - this.since >= PATIENCE_MS;
    this.isTold ||= isDue;
    return isDue;
  }

  /** It has all that is known here. */
  over(): void {
    [this.pause, this.since, this.isTold] = [FIRST_PAUSE_MS, undefined, false];
  }
}
