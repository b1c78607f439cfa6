/**
 * A relay that says what does not fit, and proves nothing: how long it is waited for
 * (ofcd/client/waiting.py; docs/protocol.md, Word and proof).
 *
 * Its log ends before what is known here, or is another one, or what it delivers does not verify. It may
 * have been put back, or have yet to hear of a move, or to catch up; or it lies, which nobody can tell
 * from here. So the room waits, and after a while its person hears of it.
 */

import { equal } from "../protocol/bytes.ts";
import { hubOf, type RoomState } from "../protocol/room.ts";
import { type Told, told } from "./told.ts";

/** The relay's copy is behind what is known here: it is waited for. */
export const COPY_BEHIND = told("copy_behind");
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** So long it may last before its person is alarmed: a hub is filled up again by then. */
const HUB_PATIENCE_MS = 10_000;
/** The same of a relay that only follows the room. */
const COPY_PATIENCE_MS = 300_000;

/**
 * Whether a relay whose log ends at `end` only follows the room, as far as is known here. So does one
 * that the room was moved to, until it has stored that record.
 */
export const isCopy = (state: RoomState, relayId: Uint8Array, end: number): boolean =>
  !equal(relayId, hubOf(state)) || end < (state.moved.at(-1)?.since ?? 0);

/** What such a relay said, for its person: that its log ends at `end`, or else is another one. */
export const misfitOf = (
  state: RoomState,
  relayId: Uint8Array,
  code: string,
  end: number,
): Told => {
  if (code === "fork") return told("fork");
  return isCopy(state, relayId, end) ? COPY_BEHIND : told("relay_behind");
};

/** How long one room has waited; neither a new link nor another word makes it begin anew. */
export class Lag {
  private pause = FIRST_PAUSE_MS;
  private since: number | undefined;
  private readonly told = new Set<Told>();

  /** It says so at `now`: how many milliseconds to wait before it is asked again. */
  again(now: number): number {
    this.since ??= now;
    const { pause } = this;
    this.pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    return pause;
  }

  /** Whether a person should hear of this word: true once for each. */
  tells(word: Told, now: number, isFollower: boolean): boolean {
    const patience = isFollower ? COPY_PATIENCE_MS : HUB_PATIENCE_MS;
    const isDue = this.since !== undefined && now - this.since >= patience;
    if (!isDue || this.told.has(word)) return false;
    this.told.add(word);
    return true;
  }

  /** All fits. */
  over(): void {
    [this.pause, this.since] = [FIRST_PAUSE_MS, undefined];
    this.told.clear();
  }
}
