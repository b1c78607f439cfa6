/**
 * Moves of a room by force that its relay tells, each before it says how far it is: what is void is
 * taken back before anything else follows from what that relay says (voiding.ts).
 */

import type { Seen } from "../e2e/log.ts";
import { Malformed } from "../protocol/codes.ts";
import { isRefusal } from "../protocol/room.ts";
import type { Link } from "../wire/link.ts";
import type { CompareDesk } from "./comparing.ts";
import { isEvicted, type RoomCore, unlessOver } from "./core.ts";
import { leaveVoid } from "./moving.ts";
import type { Outbox } from "./outbox.ts";
import type { SavedRoom } from "./saved.ts";
import type { Uploads } from "./uploads.ts";
import { type TakenBack, takeMoves } from "./voiding.ts";

/** Whoever is out, or has a frozen room, may write again by a move by force. */
const mayComeBack = (saved: SavedRoom) => isEvicted(saved) || saved.status === "frozen";

export class ForcedMoves {
  /** Where the copy of a relay ends that is behind what is known here. */
  behindAt: Seen | undefined;
  /** The relay is asked to take the room in: what it tells before its answer is heard before it. */
  private isAttaching = false;

  /** `beginAnew`: what was under way on the link is about nothing any more. */
  constructor(
    private readonly core: RoomCore,
    private readonly outbox: Outbox,
    private readonly comparing: CompareDesk,
    private readonly uploads: () => Uploads,
    private readonly beginAnew: () => void,
  ) {}

  /** The answer to attaching, once all is taken that the relay told before it. */
  async before<T>(asked: Promise<T>): Promise<T> {
    this.isAttaching = true;
    try {
      return await asked;
    } finally {
      await this.core.enqueue(async () => undefined);
      this.isAttaching = false;
    }
  }

  /** The relay tells these HUB_MOVEs. */
  told(records: readonly Uint8Array[]): void {
    const { isAttaching } = this;
    const { link } = this.core;
    const done = this.core.enqueue(async () => {
      const { saved } = this.core;
      if (!mayComeBack(saved) && saved.status !== "active") return;
      const taken = await this.take(records, link);
      const isBack = mayComeBack(saved) && this.core.saved.status === "active";
      if (taken === undefined && !isBack) return;
      this.core.doubtNoMore();
      this.beginAnew();
      // What has come by then from that relay is of before: the next link goes on from here.
      if (!isAttaching) this.core.link?.close();
      this.core.changed();
    });
    void done.catch((error) => this.core.failed(error)); // the next link tells it again
  }

  /** The same, shown by who lets this member in anew: it is out, so nothing is under way. */
  learn(records: readonly Uint8Array[]): Promise<void> {
    return this.core.enqueue(async () => {
      if ((await this.take(records, undefined)) !== undefined) this.core.changed();
    });
  }

  private async take(
    records: readonly Uint8Array[],
    link: Link | undefined,
  ): Promise<TakenBack | undefined> {
    const wasOut = mayComeBack(this.core.saved);
    const taken = await this.takeBack(records, link);
    const isBack = wasOut && this.core.saved.status === "active";
    if (isBack) void this.uploads().resume().catch(unlessOver); // behind this turn
    return taken;
  }

  private async takeBack(
    records: readonly Uint8Array[],
    link: Link | undefined,
  ): Promise<TakenBack | undefined> {
    let taken: TakenBack | undefined;
    try {
      await this.core.commit(async (draft) => {
        taken = await takeMoves(this.core, draft, records);
        if (taken === undefined) return;
        // Who is out by that says it as a new member.
        this.outbox.beginAnew(draft, taken.said);
        this.comparing.beginAnew(draft);
        if (draft.saved.status !== "removed") leaveVoid(draft, taken.parting);
      });
      return taken;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (error instanceof Malformed) link?.close(); // no log holds that
      return undefined; // it is not root's: it moves nobody
    }
  }
}
