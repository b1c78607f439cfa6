/** Out of a room: by one's own will, or by an owner's. */

import { makeLeave } from "../e2e/controls.ts";
import { isVoid } from "../e2e/evidence.ts";
import { equal, hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { eventIdOf } from "../protocol/ids.ts";
import type { RecordOf } from "../protocol/records.ts";
import { isOwner, type Member } from "../protocol/room.ts";
import { openSigned, unverifiedPayload } from "../themis/index.ts";
import type { ControlDesk } from "./controldesk.ts";
import { amend, type RoomCore, unlessOver } from "./core.ts";
import { hashOf, placesOf } from "./journal.ts";
import type { Outbox } from "./outbox.ts";
import type { Uploads } from "./uploads.ts";

type Removed = Extract<RelayFrame, { type: "removed" }>;
type Out = RecordOf<"leave"> | RecordOf<"rekey_boxed">;

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
    const why = await this.proven(record);
    if (why !== undefined) {
      await this.over(why);
      void this.uploads.giveUp(why === "evicted").catch(unlessOver); // behind this turn
    } else this.unproven(code); // to attach tells why, or that it is not so
    this.core.isLive = false;
  }

  private over(reason: "left" | "evicted"): Promise<void> {
    return this.core.commit((draft) => {
      amend(draft, { status: "removed", reason });
      this.outbox.giveUp(draft);
    });
  }

  /** How this member went out of the room, by what a member signed; undefined: that proves nothing. */
  private async proven(envelope: Uint8Array): Promise<"left" | "evicted" | undefined> {
    for (const member of this.core.view.state.members.values()) {
      const record = signedBy(member, envelope);
      if (record?.type !== "leave" && record?.type !== "rekey_boxed") continue;
      const why = outBy(record, member, this.core.me);
      return why !== undefined && (await canStand(this.core, record, envelope)) ? why : undefined;
    }
    return undefined;
  }
}

function outBy(record: Out, signer: Member, me: string): "left" | "evicted" | undefined {
  if (record.type === "leave") return hex(record.mid) === me ? "left" : undefined;
  const isOf = isOwner(signer) && record.removed.some((mid) => hex(mid) === me);
  return isOf ? "evicted" : undefined;
}

/** Whether it is in this log, or can be: not where a move by force made it void. */
async function canStand(core: RoomCore, record: Out, envelope: Uint8Array): Promise<boolean> {
  const { log, state } = core.view;
  const { prev, seen } = record;
  const id = hex(eventIdOf(unverifiedPayload(envelope)));
  const places = await placesOf(core, [id, hex(prev)]);
  if (places.has(id)) return true;
  const ours = await hashOf(core, log, seen.seq);
  const isOld = !equal(prev, state.ctl) && places.has(hex(prev));
  const isOther = ours !== undefined && !equal(ours, seen.log);
  return !(isOther || isOld || isVoid(state, record, (id) => places.get(id)));
}

function signedBy(member: Member, envelope: Uint8Array) {
  try {
    const { record } = openSigned(member.signKey, envelope);
    return "mid" in record && equal(record.mid, member.mid) ? record : undefined;
  } catch {
    return undefined;
  }
}
