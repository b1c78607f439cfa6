/** What arrives in a room: taken into the vault entry by entry, and then shown. */

import type { Body } from "../e2e/bodies.ts";
import { applyVerified } from "../e2e/chain.ts";
import { type EpochKeys, follow, KeyMissing, KeyRejected } from "../e2e/epochs.ts";
import type { Opened, SignedEvent } from "../e2e/events.ts";
import { holdsOwnKey } from "../e2e/keys.ts";
import { LogBroken } from "../e2e/log.ts";
import { displayName } from "../e2e/names.ts";
import { forgetOldKeys } from "../e2e/rekeying.ts";
import { type Taken, take, type View } from "../e2e/view.ts";
import { hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { eventIdOf } from "../protocol/ids.ts";
import { MIB } from "../protocol/limits.ts";
import type { ControlRecord, RecordOf } from "../protocol/records.ts";
import { isOwner, isRefusal, memberOf, type RoomState } from "../protocol/room.ts";
import { eventId, peek, type Signed, unverifiedPayload } from "../themis/index.ts";
import { warn } from "./alarms.ts";
import { again } from "./aside.ts";
import { noteEnd } from "./beats.ts";
import { keepDrop, named, unnamed } from "./blobdrops.ts";
import { amend, type Draft, isEnded, mark, type RoomCore, unlessOver } from "./core.ts";
import {
  applyChange,
  type Effect,
  type Entry,
  effectOf,
  idsOf,
  reactionsOf,
  withEarlier,
} from "./entries.ts";
import { keepEvidence } from "./evidence.ts";
import { HubWords } from "./hubwords.ts";
import { entryAt, find, keepChain, noteOpened, noteRow, type Touch } from "./journal.ts";
import { isParked, keyLost, opened as openParked, parked } from "./parking.ts";
import { noteReached } from "./receipts.ts";
import { json } from "./saved.ts";
import { CHECKPOINT, padded, vouchedIn } from "./tables.ts";
import { type Told, told, toldOf } from "./told.ts";
import type { Turn } from "./vault.ts";

const CURSOR_MS = 1_000;
/** As many are verified without a pause: a page that stands still can not even be scrolled. */
const BATCH = 32;
/** As many of one's own are remembered as are ever under way. */
const OWN_CONTROLS = 8;
/** As much may wait to be verified; what is more than that, the next link brings. */
const WAITING_BYTES = 32 * MIB;

type FrameOf<T extends RelayFrame["type"]> = Extract<RelayFrame, { type: T }>;

/** A delivery, and the key box that came just before it, if one did. */
interface Arriving {
  readonly frame: FrameOf<"delivery">;
  readonly box: Uint8Array | undefined;
}

interface Missed {
  readonly state: RoomState;
  readonly signed: Signed<ControlRecord>;
}

export interface Listeners {
  /** A control record was applied, in this turn. */
  control(draft: Draft, record: ControlRecord): void;
  /** An event was taken, in this turn. */
  event(draft: Draft, event: RecordOf<"event">): void;
  /** A message was opened that stands at this seq. */
  heard(draft: Draft, seq: number, opened: Opened): void;
  /** All that came is in the vault. */
  taken(): void;
}

export class Ledger {
  private boxed: { readonly seq: number; readonly box: Uint8Array } | undefined;
  readonly words: HubWords;
  /** What does not verify came on this link: what is behind it is not taken, before it is asked for anew. */
  private isHalted = false;
  /** Another list on each link. */
  private arriving: Arriving[] = [];
  private waitingBytes = 0;
  /** More came than may wait. */
  private isFull = false;
  /** A turn for those of the list is in the queue, and has not begun. */
  private isQueued = false;
  private isTelling = false;
  /** Renewals of the key that were not delivered, in order, each with the state that it met. */
  private readonly missed = new Map<number, Missed>();

  constructor(
    private readonly core: RoomCore,
    private readonly listeners: Listeners,
  ) {
    this.words = new HubWords(core);
  }

  /** The log is asked for, from what is here on. */
  begin(): void {
    this.isHalted = false;
  }

  linkLost(): void {
    this.isHalted = false;
    this.boxed = undefined;
    this.missed.clear();
    this.drop();
  }

  /** The key box of the boxed REKEY whose delivery comes next. */
  takeBox({ seq, box }: FrameOf<"box">): void {
    this.boxed = { seq, box };
  }

  /** A control record of a stretch that is not delivered any more, with the state that it met. */
  applyMissed(draft: Draft, seq: number, envelope: Uint8Array): ControlRecord {
    const { state, signed } = applyVerified(draft.view.state, envelope, seq);
    const { type } = signed.record;
    if (type === "rekey" || type === "rekey_boxed") {
      this.missed.set(seq, { state: draft.view.state, signed });
    }
    draft.view = { ...draft.view, state, keys: followed(draft.view, signed) };
    keepChain(draft.turn, this.core.tables, [[seq, envelope]]);
    this.noteOwn(draft, signed);
    return signed.record;
  }

  /** Below where the log begins here: the key may still be wanted, and those that follow from it. */
  private async takeLateBox(
    draft: Draft,
    from: number,
    box: Uint8Array | undefined,
  ): Promise<void> {
    if (box === undefined || !this.missed.has(from)) return;
    for (const [seq, { state, signed }] of this.missed) {
      if (seq < from) continue;
      const keys = followed({ ...draft.view, state }, signed, seq === from ? box : undefined);
      draft.view = { ...draft.view, keys };
    }
    await this.release(draft);
  }

  /** All that arrives while others are taken in goes in after them. */
  deliver(frame: FrameOf<"delivery">): void {
    const box = this.boxed?.seq === frame.seq ? this.boxed.box : undefined;
    this.boxed = undefined;
    if (this.isHalted) return;
    this.isFull ||= this.waitingBytes > WAITING_BYTES;
    if (this.isFull) return; // nothing that comes behind it is of use: see `takeIn`
    this.arriving.push({ frame, box });
    this.waitingBytes += sizeOf(frame);
    if (this.isQueued) return;
    this.isQueued = true;
    const { arriving } = this;
    void this.core.enqueue(() => this.takeIn(arriving)).catch(unlessOver);
  }

  private drop(): void {
    this.arriving = [];
    this.waitingBytes = 0;
    this.isFull = false;
    this.isQueued = false;
  }

  /** What has arrived by now, some at a time. */
  private async takeIn(arriving: Arriving[]): Promise<void> {
    if (arriving !== this.arriving) return;
    this.isQueued = false;
    for (let due = arriving.length; due > 0; ) {
      const batch = arriving.splice(0, Math.min(due, BATCH));
      due -= batch.length;
      for (const { frame } of batch) this.waitingBytes -= sizeOf(frame);
      if (this.core.saved.status !== "active") return this.drop();
      try {
        await this.core.commit((draft) => this.takeAll(draft, batch));
      } catch (error) {
        this.drop(); // behind what could not be kept: taken by itself, it would be a gap
        this.core.failed(error);
        return;
      }
      this.tellCursor();
      if (due > 0) await breath();
      if (arriving !== this.arriving) return; // of a link that is lost: the next one brings it again
    }
    if (this.isFull && arriving.length === 0) this.core.link?.close();
    this.listeners.taken();
  }

  private async takeAll(draft: Draft, batch: readonly Arriving[]): Promise<void> {
    for (const arriving of batch) {
      if (draft.saved.status !== "active") return;
      const { seq } = arriving.frame;
      if (seq <= draft.view.log.seq) await this.takeLateBox(draft, seq, arriving.box);
      else if (!(await this.takeOne(draft, arriving))) return;
    }
  }

  /** False: this is not the log's next entry, and the link is opened anew. */
  private async takeOne(draft: Draft, { frame, box }: Arriving): Promise<boolean> {
    const { keys } = draft.view.keys;
    let taken: Taken;
    try {
      taken = take(draft.view, frame.seq, frame.record, frame.cell, box);
    } catch (error) {
      if (!(error instanceof LogBroken)) throw error;
      this.core.alarms.raise(toldOf(error));
      this.core.link?.close();
      return false;
    }
    const belied = this.belied({ ...draft, view: taken.view });
    const forks = this.forksIn(taken, frame, belied);
    const fork = forks.find(({ about }) => !isEnded(this.core, draft, about))?.broken;
    const misfit = misfitIn(taken, frame.record) || (belied === "word" ? told("fork") : "");
    if (fork === undefined && misfit !== "") return this.halt(draft, frame, misfit);
    if (fork !== undefined) {
      amend(draft, { status: "frozen", reason: toldOf(fork) });
      keepEvidence(draft.turn, this.core.tables, [frame.record, ...fork.evidence], "proof");
      return true;
    }
    const troubles = [...taken.troubles, ...forks.map(({ broken }) => broken)];
    this.sound(draft, { ...taken, troubles }, frame.record);
    const id = hex(eventIdOf(unverifiedPayload(frame.record)));
    const before = draft.view;
    draft.view = taken.view;
    this.note(draft, frame.seq, taken);
    noteRow(draft.turn, this.core.tables, frame.seq, { id, envelope: frame.record, before, taken });
    await this.said(draft, frame.seq, id, taken);
    if (isParked(taken)) await this.park(draft, frame, taken.event as SignedEvent);
    if (taken.control !== undefined) this.listeners.control(draft, taken.control.record);
    if (taken.event !== undefined) this.listeners.event(draft, taken.event.record);
    if (taken.opened !== undefined) this.opened(draft, frame.seq, taken.opened);
    if (draft.view.keys.keys !== keys) await this.release(draft);
    return true;
  }

  /** What an entry shows that somebody has signed: that this log is not the one that others see. */
  private forksIn(taken: Taken, { seq, record }: FrameOf<"delivery">, belied: string): Fork[] {
    const forks: Fork[] = [];
    for (const one of taken.troubles) {
      if (one instanceof LogBroken && one.fault === "fork")
        forks.push({ broken: one, about: seenAt(taken, seq) });
    }
    const word = this.words.belies(taken.view);
    if (word !== undefined) forks.push({ broken: word, about: seq });
    if (belied === "signed")
      forks.push({ broken: new LogBroken("fork", seq, [record]), about: seq });
    return forks;
  }

  /** What an entry shows that is wrong, and is no reason to read no further. */
  private sound(draft: Draft, { troubles, control }: Taken, envelope: Uint8Array): void {
    const { tables, me } = this.core;
    const { state, mine } = draft.view;
    for (const one of troubles) {
      // A box that was made for a key of ours that is gone alarms nobody.
      const isForLost =
        one instanceof KeyRejected &&
        one.fault === "cannot_open" &&
        control?.record.type === "rekey_boxed" &&
        !holdsOwnKey(state, mine, me);
      if (!(one instanceof LogBroken || one instanceof KeyRejected) || isForLost) continue;
      warn(draft, toldOf(one));
      const shown = one instanceof LogBroken ? one.evidence : [envelope];
      keepEvidence(draft.turn, tables, shown, "offence");
    }
  }

  /** It proves nothing, and can not stand there: the relay is asked for the log anew. */
  private halt(draft: Draft, { record }: FrameOf<"delivery">, word: Told): false {
    keepEvidence(draft.turn, this.core.tables, [record], "junk");
    this.drop();
    this.isHalted = true;
    this.core.misfit(word);
    return false;
  }

  // -- what came without its key ---------------------------------------------------------------

  /** Kept as it came, beside its marker, until the key is here. */
  private async park(
    { turn, view }: Draft,
    { seq, record, cell }: FrameOf<"delivery">,
    event: SignedEvent,
  ): Promise<void> {
    const entry = await entryAt(this.core, seq, turn);
    if (entry === undefined) return;
    const { caps } = memberOf(view.state, event.record.mid);
    const { archive, parked: table } = this.core.tables;
    turn.put(archive, padded(seq), json.write(parked(entry, record, cell, caps)));
    turn.put(table, padded(seq), json.write(event.record.epoch));
  }

  /** Open, in order, what waited for a key that is here now; mark what waits for one that is not. */
  async release(draft: Draft): Promise<void> {
    const { turn, view } = draft;
    const { archive, parked: table } = this.core.tables;
    const { keys } = view.keys;
    const newest = Math.max(-1, ...keys.keys());
    for (const [id, raw] of turn.items(table)) {
      const epoch = json.read<number>(raw);
      // Keys are never handed out backwards: where a later one is here, this one will not come.
      if (!keys.has(epoch) && newest < epoch) continue;
      turn.delete(table, id);
      const entry = await entryAt(this.core, Number(id), turn);
      if (entry?.parked === undefined) continue;
      if (keys.has(epoch)) await this.openParked(draft, entry);
      else turn.put(archive, id, json.write(keyLost(entry)));
    }
    draft.view = { ...draft.view, keys: forgetOldKeys(view.keys, view.state.epoch) };
  }

  private async openParked(draft: Draft, entry: Entry): Promise<void> {
    const { archive } = this.core.tables;
    const taken = openParked(draft.view, entry);
    draft.turn.delete(archive, padded(entry.seq)); // it may be no entry of its own
    await this.said(draft, entry.seq, entry.eventId, taken);
    if (taken.opened === undefined) return;
    this.keepNames(draft, taken.opened.body);
    this.listeners.heard(draft, entry.seq, taken.opened);
  }

  /** What it comes to is in the history. */
  private async said(draft: Draft, seq: number, id: string, taken: Taken): Promise<void> {
    const effect = await again(this.core, draft, id, effectOf(seq, id, taken), taken.event?.record);
    const touch = await this.keep(draft, effect);
    await noteOpened(this.core, draft.turn, seq, { ...taken, touch });
  }

  private opened(draft: Draft, seq: number, opened: Opened): void {
    this.keepNames(draft, opened.body);
    this.listeners.heard(draft, seq, opened);
    // A key that is gone can not be stolen: what was opened stands in the archive.
    const { view } = draft;
    draft.view = { ...view, keys: forgetOldKeys(view.keys, view.state.epoch) };
  }

  /** When the epoch began, what was said last, and what others are proven to have seen. */
  private note(draft: Draft, seq: number, { event, control, opened }: Taken): void {
    const isRekey = control?.record.type === "rekey" || control?.record.type === "rekey_boxed";
    if (isRekey) mark(draft, { since: Date.now() });
    if (control !== undefined) this.noteOwn(draft, control);
    if (opened?.body.content.type === "text" || opened?.body.content.type === "file") {
      const isOwn = hex(opened.event.mid) === this.core.me;
      mark(draft, isOwn ? { ownSeq: seq } : { othersSeq: seq });
    }
    const record = event?.record ?? control?.record;
    if (record === undefined || record.type === "genesis") {
      noteEnd(draft, seq, undefined);
      return;
    }
    noteEnd(draft, seq, {
      isBeat: event?.record.kind === "beat" || record.type === "update_e",
      isMine: hex(record.mid) === this.core.me,
      seen: record.seen.seq,
    });
    noteReached(draft, hex(record.mid), record.seen);
  }

  /** For who waits until it is in the log (controldesk.ts). */
  private noteOwn(draft: Draft, signed: Signed<ControlRecord>): void {
    const { record } = signed;
    if (record.type === "genesis" || hex(record.mid) !== this.core.me) return;
    const all = [...draft.marks.ownControls, hex(eventId(signed))];
    mark(draft, { ownControls: all.slice(-OWN_CONTROLS) });
  }

  /** Who said that L is another one than it has come to: the relay by its word, or who signed that. */
  private belied({ turn, view: { log } }: Pick<Draft, "turn" | "view">): "word" | "signed" | "" {
    const vouched = vouchedIn(turn, this.core.id);
    if (vouched === undefined || log.seq < vouched.seq) return "";
    if (log.seq === vouched.seq && hex(log.log) !== vouched.log)
      return vouched.isSigned ? "signed" : "word";
    turn.delete(this.core.tables.state, CHECKPOINT);
    return "";
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

  /** What it did to an earlier entry, if it can be taken back. */
  private async keep({ turn, view }: Draft, effect: Effect): Promise<Touch | undefined> {
    const { archive, index } = this.core.tables;
    if (effect.type === "add") {
      const { seq, file, mid } = effect.entry;
      for (const id of idsOf(effect.entry)) {
        // A replay takes nobody's place.
        if ((await find(this.core, id, turn)) === undefined) turn.put(index, id, json.write(seq));
      }
      turn.put(archive, padded(seq), json.write(effect.entry));
      if (file !== undefined) await named(this.core, turn, file.blobId, mid);
    } else if (effect.type === "change") {
      const target = await find(this.core, effect.target, turn);
      if (target?.eventId !== effect.target) return undefined;
      const by = view.state.members.get(effect.by);
      const byOwner = by !== undefined && isOwner(by);
      const changed = applyChange(target, effect.by, effect.content, byOwner);
      if (target.file !== undefined && changed.file === undefined) {
        const { file, mid } = target;
        const isLast = await unnamed(this.core, turn, file.blobId, mid);
        if (isLast && effect.by === this.core.me)
          keepDrop(turn, this.core.tables, file.blobId, mid);
      }
      if (changed === target) return undefined;
      return this.touched(turn, target, changed, effect);
    }
    return undefined;
  }

  /** Write an entry that was changed: so that the change can be taken back, unless it deletes. */
  private touched(
    turn: Turn,
    before: Entry,
    changed: Entry,
    { seq, by, content, target, ts }: Extract<Effect, { type: "change" }>,
  ): Touch | undefined {
    const isEdit = content.type === "edit";
    const kept = isEdit ? withEarlier(changed, before, seq) : changed;
    turn.put(this.core.tables.archive, padded(before.seq), json.write(kept));
    if (isEdit) return { target, ts };
    if (content.type !== "reaction") return undefined;
    const { emoji } = content;
    return { target, ts, reaction: { emoji, was: reactionsOf(before, emoji).includes(by) } };
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

const sizeOf = ({ record, cell }: FrameOf<"delivery">) => record.length + cell.length;

/** A moment for what else the page has to do; a timer may be long in coming where nobody looks. */
const breath = () =>
  new Promise<void>((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });

/** Another log than this one, and which entry that is about. */
interface Fork {
  readonly broken: LogBroken;
  readonly about: number;
}

/** Which entry the sender of entry `seq` has seen otherwise; a move by force ends no time itself. */
function seenAt({ event, control }: Taken, seq: number): number {
  const record = (event ?? control)?.record;
  if (record === undefined || !("seen" in record)) return seq;
  return record.type === "hub_move" && record.force ? seq : Math.min(record.seen.seq, seq);
}

/** Why an entry can not stand in any log; "" where it can. */
function misfitIn(taken: Taken, envelope: Uint8Array): Told {
  const refusal = taken.troubles.find(isRefusal);
  if (refusal !== undefined) return unverifiable(refusal);
  if (taken.event !== undefined || taken.control !== undefined) return "";
  try {
    peek(envelope);
    return "";
  } catch (error) {
    if (isRefusal(error)) return unverifiable(error);
    throw error;
  }
}

/** No honest relay takes it in. */
const unverifiable = (error: Error): Told => told("unverifiable", toldOf(error));

/** The keys after a control record that was not delivered: with the one that can be had from here. */
function followed(
  { state, mine, keys }: Pick<View, "state" | "mine" | "keys">,
  signed: Signed<ControlRecord>,
  box?: Uint8Array,
): EpochKeys {
  try {
    return follow(state, mine, keys, signed, box);
  } catch (error) {
    // Of an epoch before ours; or its box comes yet, or it will be asked for.
    if (error instanceof KeyMissing || error instanceof KeyRejected) return keys;
    throw error;
  }
}
