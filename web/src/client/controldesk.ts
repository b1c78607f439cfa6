/**
 * Changes to the room itself: control records, made, sent, and made again after a lost race.
 *
 * One is under way at a time. Each is made for the control head of the moment; refused with
 * `conflict`, it is made anew (or found needless) once the record that won has come. After a lost
 * link the record may have been taken after all: the log tells.
 */

import type { Making } from "../e2e/controls.ts";
import { seenOf } from "../e2e/log.ts";
import type { Made } from "../e2e/rekeying.ts";
import { equal, hex } from "../protocol/bytes.ts";
import { eventId } from "../themis/index.ts";
import { type Link, LinkLost, RelayRefused } from "../wire/link.ts";
import type { RoomCore } from "./core.ts";

const STALE_MS = 15_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;
const AGAIN = new Set(["conflict", "epoch_stale", "seen_stale", "boxed_required"]);
const LATER = new Set([
  "rate_limited",
  "try_again",
  "hub_away",
  "storage_failed",
  "shutting_down",
  "stalled",
  "internal",
  "wrong_relay", // it has seen our HOME before we have
]);
const RELINK = new Set(["not_attached", "not_found"]);

/** How often a change is put off that gives way to all others, before it is given up. */
const TRIES = 8;

type Outcome = "taken" | "lost" | RelayRefused;

export class ControlDesk {
  private queue: Promise<unknown> = Promise.resolve();
  private readonly pending = new Set<string>();

  constructor(private readonly core: RoomCore) {}

  /** Whether a change of this name is pending. */
  has(name: string): boolean {
    return this.pending.has(name);
  }

  /** What every maker of a control record needs, as it is now. */
  get making(): Making {
    const { state, mine, log } = this.core.view;
    return { state, mine, seen: seenOf(log), now: Date.now() };
  }

  /**
   * Do this after what is pending; settled once it is in the log and applied. `make` may be called
   * several times; undefined: nothing is left to do. Rejects with what `make` throws (`Refused`),
   * with `RelayRefused`, or with `RoomOver`.
   */
  async run(name: string, make: () => Made | undefined): Promise<void> {
    await this.queued(name, make, false);
  }

  /**
   * The same for what may never become possible: tried some times, and each time behind all else that
   * is to be changed. Rejects with the last refusal.
   */
  async runPatiently(name: string, make: () => Made | undefined): Promise<void> {
    let pause = FIRST_PAUSE_MS;
    for (let left = TRIES; ; left -= 1) {
      const refused = await this.queued(name, make, true);
      if (refused === undefined) return;
      if (left <= 1) throw refused;
      await this.core.pause(Math.max(pause, refused.wait));
      pause *= 2;
    }
  }

  /** Resolves to what puts it off, where it is tried only once. */
  private queued(
    name: string,
    make: () => Made | undefined,
    isOnce: boolean,
  ): Promise<RelayRefused | undefined> {
    this.pending.add(name);
    const done = this.queue
      .then(() => this.carryOut(make, isOnce))
      .finally(() => this.pending.delete(name));
    this.queue = done.catch(() => undefined);
    return done;
  }

  private async carryOut(
    make: () => Made | undefined,
    isOnce: boolean,
  ): Promise<RelayRefused | undefined> {
    let made: Made | undefined;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      const link = await this.core.whenLive();
      if (made !== undefined && this.isTaken(made)) return undefined;
      const { ctl } = this.core.view.state;
      made = make();
      if (made === undefined) return undefined;
      const outcome = await this.send(link, made);
      if (outcome === "taken") return undefined;
      if (isOnce && outcome !== "lost") return outcome;
      if (outcome === "lost" || RELINK.has(outcome.code)) {
        await this.core.until(() => this.core.link !== link, STALE_MS);
      } else if (AGAIN.has(outcome.code)) {
        await this.core.until(() => !equal(this.core.view.state.ctl, ctl), STALE_MS);
      } else await this.core.pause(Math.max(pause, outcome.wait));
    }
  }

  private isTaken({ signed }: Made): boolean {
    return this.core.marks.ownControls.includes(hex(eventId(signed)));
  }

  private async send(link: Link, made: Made): Promise<Outcome> {
    const { signed, boxes } = made;
    const { room } = this.core.view.state;
    try {
      const ack = await link.ask({ type: "control", room, record: signed.envelope, boxes });
      // Who has left is delivered nothing more.
      if (ack.type !== "ack" || signed.record.type === "leave") return "taken";
      const isOver = () => this.isTaken(made) || this.core.link !== link;
      // The relay says where it stands: once the log is past that, it has to be in it.
      await this.core.until(() => isOver() || this.core.view.log.seq >= ack.seq);
      if (!isOver()) link.close();
      return this.isTaken(made) ? "taken" : "lost";
    } catch (error) {
      if (error instanceof LinkLost) return "lost";
      if (!(error instanceof RelayRefused)) throw error;
      if (this.core.link !== link) return "lost"; // that relay was left meanwhile
      if (AGAIN.has(error.code) || LATER.has(error.code)) return error;
      if (!RELINK.has(error.code)) throw error;
      link.close();
      return error;
    }
  }
}
