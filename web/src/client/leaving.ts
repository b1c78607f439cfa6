/** Out of a room: by one's own will, or by an owner's. */

import { makeLeave } from "../e2e/controls.ts";
import { equal, hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { isOwner, type Member } from "../protocol/room.ts";
import { openSigned } from "../themis/index.ts";
import type { ControlDesk } from "./controldesk.ts";
import { amend, type RoomCore, unlessOver } from "./core.ts";
import type { Outbox } from "./outbox.ts";
import type { Told } from "./told.ts";
import type { Uploads } from "./uploads.ts";

type Removed = Extract<RelayFrame, { type: "removed" }>;

export class Leaving {
  constructor(
    private readonly core: RoomCore,
    private readonly controls: ControlDesk,
    private readonly outbox: Outbox,
    private readonly uploads: Uploads,
    /** The relay tells that this member was removed, and does not prove it. */
    private readonly unproven: (code: string) => void,
  ) {}

  /** Settled once LEAVE stands in the log, and all that was under way is given up. */
  async leave(): Promise<void> {
    await this.controls.run("leave", () => ({
      signed: makeLeave(this.controls.making),
      boxes: [],
    }));
    await this.core.enqueue(() => this.over("left"));
    await this.uploads.giveUp();
  }

  /** The relay says we are out; believed for good only with the record that says so. */
  async removed({ record, code }: Removed): Promise<void> {
    if (this.isProof(record)) {
      await this.over(code);
      void this.uploads.giveUp().catch(unlessOver); // behind this turn
    } else this.unproven(code); // to attach tells why, or that it is not so
    this.core.isLive = false;
  }

  private over(reason: Told): Promise<void> {
    return this.core.commit((draft) => {
      amend(draft, { status: "removed", reason });
      this.outbox.giveUp(draft);
    });
  }

  private isProof(envelope: Uint8Array): boolean {
    const { me, view } = this.core;
    try {
      for (const member of view.state.members.values()) {
        const record = signedBy(member, envelope);
        if (record?.type === "leave") return hex(record.mid) === me;
        if (record?.type === "rekey_boxed") {
          return isOwner(member) && record.removed.some((mid) => hex(mid) === me);
        }
      }
    } catch {
      // no record at all
    }
    return false;
  }
}

function signedBy(member: Member, envelope: Uint8Array) {
  try {
    const { record } = openSigned(member.signKey, envelope);
    return "mid" in record && equal(record.mid, member.mid) ? record : undefined;
  } catch {
    return undefined;
  }
}
