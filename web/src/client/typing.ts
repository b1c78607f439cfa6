/** Who is said to be typing, and telling the others that one is. It is a hint: no signature stands behind it. */

import { sealSignal } from "../e2e/signals.ts";
import { mayPost } from "../protocol/room.ts";
import type { RoomCore } from "./core.ts";

const TYPING_MS = 6_000;

export type TypingKind = "typing" | "stopped";

export class Typing {
  /** Until when whom is said to be typing, by member. */
  private readonly until = new Map<string, number>();
  private readonly stops = new Map<string, () => void>();

  constructor(private readonly core: RoomCore) {}

  /** Tell the others that one is typing, or no longer. */
  tell(kind: TypingKind): void {
    const { link, isLive, isActive, myself, view } = this.core;
    const { state, keys, mine } = view;
    const may = isActive && myself !== undefined && mayPost(myself);
    if (!isLive || !keys.keys.has(state.epoch) || !may) return;
    const cell = sealSignal(state.room, state.epoch, keys, mine.mid, { kind, ts: Date.now() });
    link?.tell({ type: "signal", room: state.room, epoch: state.epoch, cell });
  }

  /** A member types, or does no longer: one timer for each, however often the relay says so. */
  heard(mid: string, kind: TypingKind): void {
    this.stops.get(mid)?.();
    this.stops.delete(mid);
    if (kind === "typing") {
      this.until.set(mid, Date.now() + TYPING_MS);
      const over = () => this.heard(mid, "stopped");
      this.stops.set(mid, this.core.later(over, TYPING_MS + 1));
    } else this.until.delete(mid);
    this.core.changed();
  }

  /** It has said something: that is what it typed. */
  said(mid: string): void {
    this.until.delete(mid);
  }

  /** In hex. */
  who(now: number): string[] {
    return [...this.until].filter(([, until]) => until > now).map(([mid]) => mid);
  }
}
