/** The room handed over from its root to another member: offered, accepted, and then in the log. */

import { acceptHandover, makeHandover } from "../e2e/controls.ts";
import type { Opened } from "../e2e/events.ts";
import { b64decode, b64encode, equal, fromHex, hex } from "../protocol/bytes.ts";
import { unlessRefused } from "./admissions.ts";
import type { ControlDesk } from "./controldesk.ts";
import { type Draft, mark, type RoomCore, unlessOver } from "./core.ts";
import type { Outbox } from "./outbox.ts";

export class Handover {
  constructor(
    private readonly core: RoomCore,
    private readonly controls: ControlDesk,
    private readonly outbox: Outbox,
  ) {}

  /** Ask a member to become root; once they accept, the room is theirs. */
  async offer(mid: string): Promise<void> {
    await this.core.change((draft) => {
      mark(draft, { offeredTo: mid });
      this.outbox.put(draft.turn, { type: "handover_offer", to: fromHex(mid) });
    });
    this.outbox.pump();
  }

  /** Take the room over from root, who offered it. */
  async accept(): Promise<void> {
    const accept = acceptHandover(this.controls.making).envelope;
    await this.core.change((draft) => {
      mark(draft, { offeredBy: "" });
      this.outbox.put(draft.turn, { type: "handover_accept", accept });
    });
    this.outbox.pump();
  }

  /** Somebody said this: it may be an offer, or its acceptance. */
  heard(draft: Draft, seq: number, { body: { mid, content } }: Opened): void {
    if (content.type === "handover_offer" && equal(mid, draft.view.state.root)) {
      mark(draft, { offeredBy: hex(content.to) === this.core.me ? hex(mid) : "" });
    }
    if (content.type !== "handover_accept" || hex(mid) !== draft.marks.offeredTo) return;
    const accepted = { mid: hex(mid), accept: b64encode(content.accept), seq };
    mark(draft, { offeredTo: "", accepted });
  }

  /** Somebody has accepted the room: hand it over, until that is in the log or refused. */
  goOn(): void {
    const { accepted } = this.core.marks;
    if (accepted === undefined || !this.core.isLive || this.controls.has("handover")) return;
    const [mid, accept] = [fromHex(accepted.mid), b64decode(accepted.accept)];
    const make = () => ({ signed: makeHandover(this.controls.making, mid, accept), boxes: [] });
    const over = () =>
      this.core.change((draft) => {
        // Else somebody else has accepted since.
        if (draft.marks.accepted === accepted) mark(draft, { accepted: undefined });
      });
    // Who accepts may have said what holds no more, or never held.
    void this.controls.run("handover", make).catch(unlessRefused).then(over).catch(unlessOver);
  }
}
