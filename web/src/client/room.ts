/**
 * One room of this browser: attached on a link, followed entry by entry, spoken into.
 *
 * Whatever comes is taken into the vault before it is shown, and whatever is said is there before it
 * is sent: a reload, a phone's sleep or a crash loses neither. An item of the outbox keeps its sid,
 * so that the relay and all readers know it for the same message however often it is sent.
 */

import type { Body, Content } from "../e2e/bodies.ts";
import { verifyChain } from "../e2e/chain.ts";
import { makeAttach } from "../e2e/controls.ts";
import { sealEvent } from "../e2e/events.ts";
import { checkHead, LogBroken, nextOf, resumedLog, type Seen, seenOf } from "../e2e/log.ts";
import { displayName } from "../e2e/names.ts";
import { take, type View } from "../e2e/view.ts";
import { fromHex, hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { eventIdOf } from "../protocol/ids.ts";
import { isOwner, type Member, mayPost, memberOf, type RoomState } from "../protocol/room.ts";
import { openSigned, randomBytes, relayKeyMatches, unverifiedPayload } from "../themis/index.ts";
import { type Link, LinkLost, RelayRefused } from "../wire/link.ts";
import { chainOfRoom } from "./chainpages.ts";
import { contentFrom, contentJson } from "./contents.ts";
import { applyChange, type Effect, type Entry, effectOf } from "./entries.ts";
import {
  json,
  type SavedRoom,
  savedEpochKeys,
  savedLog,
  savedMemberKeys,
  savedRoom,
  savedSenders,
  savedState,
} from "./saved.ts";
import { ARCHIVE, Turn, type Vault } from "./vault.ts";

export const ROOMS = "rooms";
const CHECKPOINT = "checkpoint";
const PAGE = 50;
const SEQ_DIGITS = 12;
/** After these the same words may be taken, once what was missed has been applied. */
const CATCH_UP = new Set([
  "epoch_stale",
  "ctl_stale",
  "seen_stale",
  "prev_mismatch",
  "counter_gap",
]);
const RETRY_MS = 250;

type FrameOf<T extends RelayFrame["type"]> = Extract<RelayFrame, { type: T }>;

/** What waits in the outbox, as its sender sees it. */
export interface Waiting {
  readonly id: string;
  readonly content: Content;
  readonly ts: number;
  /** Why the relay refused it for good; "" while it waits. */
  readonly failed: string;
}

/** A delivery, and the key box that came just before it, if one did. */
interface Arriving {
  readonly frame: FrameOf<"delivery">;
  readonly box: Uint8Array | undefined;
}

/** What one turn makes of the room; it takes effect when all of it is in the vault. */
interface Draft {
  readonly turn: Turn;
  view: View;
  saved: SavedRoom;
}

interface Item {
  readonly sid: string;
  readonly ts: number;
  readonly content: unknown;
  readonly failed: string;
}

export interface RoomMember extends Member {
  readonly name: string;
  readonly isMe: boolean;
}

const padded = (seq: number) => String(seq).padStart(SEQ_DIGITS, "0");

export class Room {
  readonly id: string;
  saved: SavedRoom;
  private view: View;
  private link: Link | undefined;
  private live = false;
  private sending = false;
  /** Sid of the item that the relay took last: it waits for it to come back in the log. */
  private posted = "";
  private boxed: Uint8Array | undefined;
  private arriving: Arriving[] = [];
  private queue: Promise<void> = Promise.resolve();

  /** `changed` is called after every change that a person could see. */
  constructor(
    private readonly vault: Vault,
    id: string,
    private readonly changed: () => void,
  ) {
    this.id = id;
    this.saved = savedRoom.read(required(vault.get(ROOMS, id)));
    this.view = this.load();
  }

  // -- what a person sees ----------------------------------------------------------------------

  get name(): string {
    return this.saved.name;
  }

  get isLive(): boolean {
    return this.live;
  }

  /** What the control log says now: members, roles, epoch. */
  get state(): RoomState {
    return this.view.state;
  }

  /** The number of the newest entry of the log: history has changed only if this has. */
  get lastSeq(): number {
    return this.view.log.seq;
  }

  get epoch(): number {
    return this.view.state.epoch;
  }

  get me(): string {
    return hex(this.view.mine.mid);
  }

  get mayPost(): boolean {
    const me = this.view.state.members.get(this.me);
    return me !== undefined && mayPost(me) && this.saved.status === "active";
  }

  get relayId(): Uint8Array {
    return this.saved.relayId;
  }

  get url(): string {
    return this.saved.url;
  }

  members(): RoomMember[] {
    return [...this.view.state.members.values()].map((member) => ({
      ...member,
      name: this.nameOf(hex(member.mid)),
      isMe: hex(member.mid) === this.me,
    }));
  }

  /** What a member last called themselves, safe to show; "" if they never said. */
  nameOf(mid: string): string {
    const raw = this.vault.get(`names/${this.id}`, mid);
    return raw === undefined ? "" : json.read<string>(raw);
  }

  /** The newest entries, or those before `before`; oldest first. */
  async history(before?: number, limit = PAGE): Promise<Entry[]> {
    const range = before === undefined ? { limit } : { before: padded(before), limit };
    const found = await this.vault.archived(this.archive, range);
    return found.map(([, raw]) => json.read<Entry>(raw));
  }

  /** What was said here and is not yet at the relay. */
  waiting(): Waiting[] {
    return this.vault.items(this.outbox).map(([id, raw]) => {
      const { content, ts, failed } = json.read<Item>(raw);
      return { id, content: contentFrom(content), ts, failed };
    });
  }

  // -- what a person does ----------------------------------------------------------------------

  /** Queue something to be said; settled once it is safely in the vault. */
  async send(content: Content): Promise<void> {
    await this.change(({ turn }) => {
      const last = turn.items(this.outbox).at(-1)?.[0] ?? padded(0);
      const item: Item = {
        sid: hex(randomBytes(16)),
        ts: Date.now(),
        content: contentJson(content),
        failed: "",
      };
      turn.put(this.outbox, padded(Number(last) + 1), json.write(item));
    });
    this.pump();
  }

  /** Take back what was refused, or has not been sent. */
  async discard(id: string): Promise<void> {
    await this.change(({ turn }) => turn.delete(this.outbox, id));
  }

  async markRead(seq: number): Promise<void> {
    if (seq <= this.saved.readUpTo) return;
    await this.change((draft) => amend(draft, { readUpTo: seq }));
  }

  // -- on a link -------------------------------------------------------------------------------

  /** Attach, catch up, and follow from then on; rejects with `LinkLost`. */
  async attach(link: Link, transportKey: Uint8Array): Promise<void> {
    if (this.saved.status !== "active") return;
    this.link = link;
    const { mine, state } = this.view;
    const { challenge } = link.welcome;
    const proof = makeAttach(state.room, mine, { transportKey, relayId: this.relayId, challenge });
    try {
      await link.ask({ type: "attach", record: proof.envelope });
      await this.sync(link);
    } catch (error) {
      if (!(error instanceof RelayRefused)) throw error;
      await this.refused(error);
    }
  }

  detach(): void {
    this.link = undefined;
    this.posted = ""; // the next link's sync tells whether it stands in the log
    this.live = false;
    this.boxed = undefined;
    this.changed();
  }

  private async sync(link: Link): Promise<void> {
    const { seq, log } = this.view.log;
    const { room } = this.view.state;
    // Deliveries may come before `synced` is looked at: they wait in the queue behind this.
    const answered = link.ask({ type: "sync", room, start: seq + 1, log });
    const caughtUp = this.enqueue(async () => {
      const synced = (await answered) as FrameOf<"synced">;
      if (Math.max(synced.start, synced.floor) > seq + 1) await this.skip(link, synced);
    });
    await answered;
    await caughtUp;
    this.live = true;
    this.changed();
    this.pump();
  }

  /** The relay no longer keeps what was missed: the control log tells who is here, the rest is gone. */
  private async skip(link: Link, { start, floor, log }: FrameOf<"synced">): Promise<void> {
    const from = Math.max(start, floor);
    const { room } = this.view.state;
    const controls = await chainOfRoom(link, room);
    const state = verifyChain(room, controls, { before: from });
    const senders = new Map(
      [...this.view.senders].map(([mid, head]) => [mid, { ...head, certain: false }]),
    );
    await this.commit((draft) => {
      draft.view = { ...draft.view, state, senders, log: resumedLog(room, from - 1, log) };
    });
  }

  /** A frame of this room that nobody asked for. */
  receive(frame: RelayFrame): void {
    if (frame.type === "box") this.boxed = frame.box;
    else if (frame.type === "delivery") this.deliver(frame);
    else if (frame.type === "head") void this.enqueue(async () => this.hear(frame));
    else if (frame.type === "removed") void this.enqueue(() => this.removed(frame.code));
  }

  /** All that arrives while a turn is written goes into the next one. */
  private deliver(frame: FrameOf<"delivery">): void {
    this.arriving.push({ frame, box: this.boxed });
    this.boxed = undefined;
    if (this.arriving.length === 1) void this.enqueue(() => this.takeIn());
  }

  private async takeIn(): Promise<void> {
    const batch = this.arriving.splice(0);
    if (this.saved.status !== "active") return;
    await this.commit(async (draft) => {
      for (const arriving of batch) {
        if (arriving.frame.seq > draft.view.log.seq && draft.saved.status === "active") {
          await this.takeOne(draft, arriving);
        }
      }
    });
    this.pump();
  }

  private async takeOne(draft: Draft, { frame, box }: Arriving): Promise<void> {
    try {
      const taken = take(draft.view, frame.seq, frame.record, frame.cell, box);
      const id = hex(eventIdOf(unverifiedPayload(frame.record)));
      draft.view = taken.view;
      this.checkPoint(draft);
      await this.keep(draft, effectOf(frame.seq, id, taken));
      if (taken.event !== undefined) this.arrived(draft.turn, taken.event.record.sid);
      if (taken.opened !== undefined) this.keepNames(draft, taken.opened.body);
      const fault = taken.troubles.find((one) => one instanceof LogBroken);
      if (fault !== undefined) amend(draft, { status: "frozen", reason: fault.message });
    } catch (error) {
      if (!(error instanceof LogBroken)) throw error;
      amend(draft, { status: "frozen", reason: error.message });
    }
  }

  /** My admitter told me what L is at one seq: a relay that shows me another log is found out. */
  private checkPoint({ turn, view: { log } }: Draft): void {
    const raw = turn.get(this.table, CHECKPOINT);
    if (raw === undefined) return;
    const told = json.read<{ seq: number; log: string }>(raw);
    if (log.seq < told.seq) return;
    if (log.seq === told.seq && hex(log.log) !== told.log) throw new LogBroken("fork", log.seq);
    turn.delete(this.table, CHECKPOINT);
  }

  private async hear({ record }: FrameOf<"head">): Promise<void> {
    const link = this.link;
    if (link === undefined || !relayKeyMatches(link.relayKey, this.relayId)) return;
    try {
      const head = openSigned(link.relayKey, record).record;
      if (head.type === "log_head") checkHead(this.view.log, head, record);
    } catch (error) {
      if (error instanceof LogBroken) await this.freeze(error.message);
    }
  }

  private async removed(code: string): Promise<void> {
    const reason =
      code === "left" ? "You have left this room." : "You were removed from this room.";
    await this.commit((draft) => amend(draft, { status: "removed", reason }));
    this.live = false;
  }

  private async freeze(reason: string): Promise<void> {
    await this.commit((draft) => amend(draft, { status: "frozen", reason }));
    this.live = false;
  }

  private async refused({ code, message }: RelayRefused): Promise<void> {
    if (code === "fork" || code === "hub_behind") await this.freeze(message);
    this.live = false;
    this.changed();
  }

  // -- the outbox ------------------------------------------------------------------------------

  private pump(): void {
    if (this.sending || !this.live || this.link === undefined || !this.mayPost) return;
    const next = this.vault
      .items(this.outbox)
      .map(([id, raw]) => [id, json.read<Item>(raw)] as const)
      .find(([, item]) => item.failed === "");
    if (next === undefined || next[1].sid === this.posted) return;
    this.sending = true;
    void this.post(this.link, ...next)
      .finally(() => {
        this.sending = false;
      })
      .then((goOn) => {
        if (goOn) this.pump();
      });
  }

  /** Whether the next one may go at once. */
  private async post(link: Link, id: string, item: Item): Promise<boolean> {
    const { state, mine, keys, log, senders } = this.view;
    const message = {
      content: contentFrom(item.content),
      sid: fromHex(item.sid),
      ...nextOf(senders, state.room, mine.mid),
      ts: item.ts,
      name: this.saved.myName,
      voids: [],
    };
    const { signed, cell } = sealEvent(state, mine, keys, message, seenOf(log));
    try {
      await link.ask({ type: "post", room: state.room, record: signed.envelope, cell });
      // It leaves the outbox when it comes back in the log, maybe before this answer.
      this.posted = item.sid;
      return true;
    } catch (error) {
      if (error instanceof LinkLost) return false;
      if (!(error instanceof RelayRefused)) throw error;
      return this.notTaken(id, item, error);
    }
  }

  private async notTaken(
    id: string,
    item: Item,
    { code, failure }: RelayRefused,
  ): Promise<boolean> {
    const again = CATCH_UP.has(code) || failure.retry_after !== undefined;
    if (again || code === "try_again" || code === "storage_failed" || code === "rate_limited") {
      setTimeout(() => this.pump(), failure.retry_after ?? RETRY_MS);
      return false;
    }
    await this.change(({ turn }) => {
      const there = turn.get(this.outbox, id);
      // Taken back meanwhile: it must not come back.
      if (there === undefined || json.read<Item>(there).sid !== item.sid) return;
      turn.put(this.outbox, id, json.write({ ...item, failed: failure.text }));
    });
    return true;
  }

  private arrived(turn: Turn, sid: Uint8Array): void {
    for (const [id, raw] of turn.items(this.outbox)) {
      if (json.read<Item>(raw).sid === hex(sid)) turn.delete(this.outbox, id);
    }
  }

  // -- records ---------------------------------------------------------------------------------

  private get table(): string {
    return `room/${this.id}`;
  }

  private get outbox(): string {
    return `outbox/${this.id}`;
  }

  private get archive(): string {
    return `${ARCHIVE}${this.id}`;
  }

  private get index(): string {
    return `index/${this.id}`;
  }

  private load(): View {
    const part = (name: string) => required(this.vault.get(this.table, name));
    return {
      mine: savedMemberKeys.read(part("mine")),
      state: savedState.read(part("state")),
      keys: savedEpochKeys.read(part("keys")),
      log: savedLog.read(part("log")),
      senders: savedSenders.read(part("senders")),
    };
  }

  private keepNames(draft: Draft, body: Body): void {
    const { turn, view } = draft;
    const mid = hex(body.mid);
    const name = displayName(body.name);
    if (name && this.nameOf(mid) !== name) turn.put(`names/${this.id}`, mid, json.write(name));
    if (body.content.type === "room" && isOwner(memberOf(view.state, body.mid))) {
      amend(draft, { name: displayName(body.content.name) });
    }
  }

  private async keep({ turn, view }: Draft, effect: Effect): Promise<void> {
    if (effect.type === "add") {
      turn.put(this.archive, padded(effect.entry.seq), json.write(effect.entry));
      turn.put(this.index, effect.entry.eventId, json.write(effect.entry.seq));
    } else if (effect.type === "change") {
      const target = await this.entry(turn, effect.target);
      if (target === undefined) return;
      const by = view.state.members.get(effect.by);
      const byOwner = by !== undefined && isOwner(by);
      const changed = applyChange(target, effect.by, effect.content, byOwner);
      turn.put(this.archive, padded(target.seq), json.write(changed));
    }
  }

  /** The entry of an event, as this turn has it, or else the vault. */
  private async entry(turn: Turn, eventId: string): Promise<Entry | undefined> {
    const at = turn.get(this.index, eventId);
    if (at === undefined) return undefined;
    const seq = json.read<number>(at);
    const written = turn.get(this.archive, padded(seq));
    if (written !== undefined) return json.read<Entry>(written);
    const [found] = await this.history(seq + 1, 1);
    return found?.eventId === eventId ? found : undefined;
  }

  /** One thing after the other: the vault has one writer, and entries come in order. */
  private enqueue(act: () => Promise<void>): Promise<void> {
    const done = this.queue.then(act);
    this.queue = done.catch(() => undefined);
    return done;
  }

  private change(act: (draft: Draft) => void): Promise<void> {
    return this.enqueue(() => this.commit(act));
  }

  private async commit(act: (draft: Draft) => void | Promise<void>): Promise<void> {
    const draft: Draft = { turn: new Turn(this.vault), view: this.view, saved: this.saved };
    await act(draft);
    const { turn, view, saved } = draft;
    if (view !== this.view) saveView(turn, this.id, view, this.view);
    if (saved !== this.saved) turn.put(ROOMS, this.id, savedRoom.write(saved));
    await this.vault.commit(turn);
    this.view = view;
    this.saved = saved;
    if (saved.status !== "active") this.live = false;
    this.changed();
  }
}

function amend(draft: Draft, changes: Partial<SavedRoom>): void {
  draft.saved = { ...draft.saved, ...changes };
}

/** Puts what has changed of a view since `before`; everything, if there was none. */
export function saveView(turn: Turn, room: string, view: View, before?: View): void {
  const table = `room/${room}`;
  if (before === undefined) turn.put(table, "mine", savedMemberKeys.write(view.mine));
  if (view.state !== before?.state) turn.put(table, "state", savedState.write(view.state));
  if (view.keys !== before?.keys) turn.put(table, "keys", savedEpochKeys.write(view.keys));
  if (view.log !== before?.log) turn.put(table, "log", savedLog.write(view.log));
  if (view.senders !== before?.senders) {
    turn.put(table, "senders", savedSenders.write(view.senders));
  }
}

/** A room that a join has brought; `checkpoint` is what its admitter said that L is at one seq. */
export function saveNewRoom(
  turn: Turn,
  saved: SavedRoom,
  view: View,
  checkpoint: Seen | undefined,
): void {
  const id = hex(saved.room);
  if (checkpoint !== undefined && checkpoint.seq > view.log.seq) {
    const told = { seq: checkpoint.seq, log: hex(checkpoint.log) };
    turn.put(`room/${id}`, CHECKPOINT, json.write(told));
  }
  turn.put(ROOMS, id, savedRoom.write(saved));
  saveView(turn, id, view);
}

function required(raw: Uint8Array | undefined): Uint8Array {
  if (raw === undefined) throw new RangeError("the vault holds a room without its records");
  return raw;
}
