/** What arrives in a room: taken into the vault entry by entry, and then shown. */

import type { Body } from "../e2e/bodies.ts";
import { checkHead, LogBroken } from "../e2e/log.ts";
import { displayName } from "../e2e/names.ts";
import { forgetOldKeys } from "../e2e/rekeying.ts";
import { type Taken, take } from "../e2e/view.ts";
import { hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { eventIdOf } from "../protocol/ids.ts";
import type { ControlRecord } from "../protocol/records.ts";
import { isOwner, memberOf } from "../protocol/room.ts";
import { openSigned, relayKeyMatches, unverifiedPayload } from "../themis/index.ts";
import { amend, type Draft, mark, type RoomCore } from "./core.ts";
import { applyChange, type Effect, type Entry, effectOf } from "./entries.ts";
import { json } from "./saved.ts";
import { CHECKPOINT, padded } from "./tables.ts";
import type { Turn } from "./vault.ts";

const CURSOR_MS = 1_000;

type FrameOf<T extends RelayFrame["type"]> = Extract<RelayFrame, { type: T }>;

/** A delivery, and the key box that came just before it, if one did. */
interface Arriving {
  readonly frame: FrameOf<"delivery">;
  readonly box: Uint8Array | undefined;
}

export interface Listeners {
  /** A control record was applied, in this turn. */
  control(draft: Draft, record: ControlRecord): void;
  /** An event of this sid was taken, in this turn. */
  event(draft: Draft, sid: Uint8Array): void;
  /** What another member's client says to this one. */
  heard(draft: Draft, body: Body): void;
  /** All that came is in the vault. */
  taken(): void;
}

export class Ledger {
  private boxed: Uint8Array | undefined;
  private arriving: Arriving[] = [];
  private isTelling = false;

  constructor(
    private readonly core: RoomCore,
    private readonly listeners: Listeners,
  ) {}

  linkLost(): void {
    this.boxed = undefined;
    this.arriving = [];
  }

  takeBox({ box }: FrameOf<"box">): void {
    this.boxed = box;
  }

  /** All that arrives while a turn is written goes into the next one. */
  deliver(frame: FrameOf<"delivery">): void {
    this.arriving.push({ frame, box: this.boxed });
    this.boxed = undefined;
    if (this.arriving.length === 1) void this.core.enqueue(() => this.takeIn());
  }

  /** The hub's signed word about the log's end. */
  hear({ record }: FrameOf<"head">): void {
    const { link, saved } = this.core;
    if (link === undefined || !relayKeyMatches(link.relayKey, saved.relayId)) return;
    void this.core.enqueue(async () => {
      try {
        const head = openSigned(link.relayKey, record).record;
        if (head.type === "log_head") checkHead(this.core.view.log, head, record);
      } catch (error) {
        if (error instanceof LogBroken) await this.core.freeze(error.message);
      }
    });
  }

  private async takeIn(): Promise<void> {
    const batch = this.arriving.splice(0);
    if (this.core.saved.status !== "active") return;
    await this.core.commit(async (draft) => {
      for (const arriving of batch) {
        if (arriving.frame.seq > draft.view.log.seq && draft.saved.status === "active") {
          await this.takeOne(draft, arriving);
        }
      }
    });
    this.tellCursor();
    this.listeners.taken();
  }

  private async takeOne(draft: Draft, { frame, box }: Arriving): Promise<void> {
    try {
      const taken = take(draft.view, frame.seq, frame.record, frame.cell, box);
      const id = hex(eventIdOf(unverifiedPayload(frame.record)));
      draft.view = taken.view;
      this.checkPoint(draft);
      this.note(draft, frame.seq, taken);
      await this.keep(draft, effectOf(frame.seq, id, taken));
      if (taken.control !== undefined) this.listeners.control(draft, taken.control.record);
      if (taken.event !== undefined) this.listeners.event(draft, taken.event.record.sid);
      if (taken.opened !== undefined) this.opened(draft, taken.opened.body);
      const fault = taken.troubles.find((one) => one instanceof LogBroken);
      if (fault !== undefined) amend(draft, { status: "frozen", reason: fault.message });
    } catch (error) {
      if (!(error instanceof LogBroken)) throw error;
      amend(draft, { status: "frozen", reason: error.message });
    }
  }

  private opened(draft: Draft, body: Body): void {
    this.keepNames(draft, body);
    this.listeners.heard(draft, body);
    // A key that is gone can not be stolen: what was opened stands in the archive.
    const { view } = draft;
    draft.view = { ...view, keys: forgetOldKeys(view.keys, view.state.epoch) };
  }

  /** When the epoch began, what was said last, and what others are proven to have seen. */
  private note(draft: Draft, seq: number, { event, control }: Taken): void {
    const isRekey = control?.record.type === "rekey" || control?.record.type === "rekey_boxed";
    if (isRekey) mark(draft, { since: Date.now() });
    if (event?.record.kind !== "beat") mark(draft, { said: seq });
    const record = event?.record ?? control?.record;
    if (record === undefined || record.type === "genesis") return;
    if (hex(record.mid) !== this.core.me && record.seen.seq > draft.marks.heard) {
      mark(draft, { heard: record.seen.seq });
    }
  }

  /** My admitter told me what L is at one seq: a relay that shows me another log is found out. */
  private checkPoint({ turn, view: { log } }: Draft): void {
    const { state } = this.core.tables;
    const raw = turn.get(state, CHECKPOINT);
    if (raw === undefined) return;
    const told = json.read<{ seq: number; log: string }>(raw);
    if (log.seq < told.seq) return;
    if (log.seq === told.seq && hex(log.log) !== told.log) throw new LogBroken("fork", log.seq);
    turn.delete(state, CHECKPOINT);
  }

  private keepNames(draft: Draft, body: Body): void {
    const { turn, view } = draft;
    const { names } = this.core.tables;
    const mid = hex(body.mid);
    const said = body.content.type === "profile" ? body.content.name : body.name;
    const name = displayName(said);
    const raw = turn.get(names, mid);
    const known = raw === undefined ? "" : json.read<string>(raw);
    if (name && known !== name) turn.put(names, mid, json.write(name));
    if (body.content.type === "room" && isOwner(memberOf(view.state, body.mid))) {
      amend(draft, { name: displayName(body.content.name) });
    }
  }

  private async keep({ turn, view }: Draft, effect: Effect): Promise<void> {
    const { archive, index } = this.core.tables;
    if (effect.type === "add") {
      turn.put(archive, padded(effect.entry.seq), json.write(effect.entry));
      turn.put(index, effect.entry.eventId, json.write(effect.entry.seq));
    } else if (effect.type === "change") {
      const target = await this.entry(turn, effect.target);
      if (target === undefined) return;
      const by = view.state.members.get(effect.by);
      const byOwner = by !== undefined && isOwner(by);
      const changed = applyChange(target, effect.by, effect.content, byOwner);
      turn.put(archive, padded(target.seq), json.write(changed));
    }
  }

  /** The entry of an event, as this turn has it, or else the vault. */
  private async entry(turn: Turn, eventId: string): Promise<Entry | undefined> {
    const { archive, index } = this.core.tables;
    const at = turn.get(index, eventId);
    if (at === undefined) return undefined;
    const seq = json.read<number>(at);
    const written = turn.get(archive, padded(seq));
    if (written !== undefined) return json.read<Entry>(written);
    const [found] = await this.core.vault.archived(archive, { before: padded(seq + 1), limit: 1 });
    const entry = found && json.read<Entry>(found[1]);
    return entry?.eventId === eventId ? entry : undefined;
  }

  private tellCursor(): void {
    if (this.isTelling) return;
    this.isTelling = true;
    this.core.later(() => {
      this.isTelling = false;
      const { log, state } = this.core.view;
      this.core.link?.tell({ type: "cursor", room: state.room, seq: log.seq });
    }, CURSOR_MS);
  }
}
