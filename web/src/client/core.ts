/** One room in the vault and on a link: what all of its parts work on. */

import { hashAt } from "../e2e/log.ts";
import { readMove } from "../e2e/moves.ts";
import type { View } from "../e2e/view.ts";
import { equal, hex } from "../protocol/bytes.ts";
import { hubOf, isOwner, type Member } from "../protocol/room.ts";
import type { Link } from "../wire/link.ts";
import { Alarms, warn } from "./alarms.ts";
import { keepEvidence } from "./evidence.ts";
import type { Place } from "./moving.ts";
import { records, type SavedRoom, savedRoom } from "./saved.ts";
import {
  AHEAD,
  keepVouched,
  loadMarks,
  loadView,
  type Marks,
  saveMarks,
  saveView,
  Tables,
  vouchedIn,
} from "./tables.ts";
import { type Told, told, toldOf } from "./told.ts";
import { Turn, type Vault, VaultLocked } from "./vault.ts";

/** The client was locked, or the room can not be used any more. */
export class RoomOver extends Error {
  override readonly name = "RoomOver";
}

/** What is told of the browser that keeps the vault, and over once it keeps something. */
const OF_THE_VAULT = "vault.";

/** What a room tells of where it is. */
export interface RoomListeners {
  /** The room is reached at another relay; called with where it was. */
  moved(before: Place): void;
  /** Another relay orders the room. Its turn is over once what was shown of that one's keys is kept. */
  hubMoved(): Promise<void>;
}

/** What one turn makes of the room; it takes effect when all of it is in the vault. */
export interface Draft {
  readonly turn: Turn;
  view: View;
  saved: SavedRoom;
  marks: Marks;
}

/** Browsers run a longer one at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class RoomCore {
  readonly tables: Tables;
  saved: SavedRoom;
  view: View;
  marks: Marks;
  link: Link | undefined;
  /** Another one after each change of the history. */
  revision = 0;
  /** What its person should hear of. */
  readonly alarms = new Alarms(this);
  /** Why the relay does not let this member in just now; "" if it does. */
  refusal: Told = "";
  listeners: Partial<RoomListeners> = {};
  /** The relay says what does not fit, and proves nothing: it is asked again (attaching.ts). */
  misfit: (word: Told) => void = () => undefined;
  /** It has refused a post so, and has taken none since. */
  isDoubted = false;
  private live = false;
  /** The vault is locked: nothing can be read or written any more. */
  private over = false;
  private queue: Promise<void> = Promise.resolve();
  private readonly watchers = new Set<() => void>();
  private readonly timers = new Set<() => void>();

  /** `onChanged` is called after every change that a person could see. */
  constructor(
    readonly vault: Vault,
    readonly id: string,
    private readonly onChanged: () => void,
  ) {
    this.tables = new Tables(id);
    this.saved = savedRoom.read(records(vault.get(this.tables.rooms, id)));
    this.view = loadView(vault, id);
    this.marks = loadMarks(vault, id, this.view);
  }

  get me(): string {
    return hex(this.view.mine.mid);
  }

  get myself(): Member | undefined {
    return this.view.state.members.get(this.me);
  }

  get isOwner(): boolean {
    return this.myself !== undefined && isOwner(this.myself);
  }

  /** Whether it is reached through another relay than the one that orders it. */
  get isAway(): boolean {
    return !equal(this.saved.relayId, hubOf(this.view.state));
  }

  /** Attached and caught up. */
  get isLive(): boolean {
    return this.live && this.saved.status === "active";
  }

  set isLive(live: boolean) {
    this.live = live;
    this.changed();
  }

  get isOver(): boolean {
    return this.over;
  }

  get isActive(): boolean {
    return this.saved.status === "active" && !this.over;
  }

  /** Nothing goes on here any more: the vault is about to be locked. */
  close(): void {
    this.over = true;
    this.live = false;
    for (const stop of [...this.timers]) stop();
    this.changed();
  }

  changed(): void {
    for (const watcher of [...this.watchers]) watcher();
    if (!this.over) this.onChanged();
  }

  /** Once it holds, true; false after `limit` milliseconds. Rejects with `RoomOver`. */
  until(
    holds: () => boolean,
    limit?: number,
    { isFrozenToo = false }: { readonly isFrozenToo?: boolean } = {},
  ): Promise<boolean> {
    const goesOn = () =>
      this.isActive || (isFrozenToo && !this.over && this.saved.status === "frozen");
    return new Promise((resolve, reject) => {
      const look = () => {
        if (!goesOn()) settle(() => reject(overNow()));
        else if (holds()) settle(() => resolve(true));
      };
      const timer =
        limit === undefined ? undefined : setTimeout(() => settle(() => resolve(false)), limit);
      const settle = (then: () => void) => {
        clearTimeout(timer);
        this.watchers.delete(look);
        then();
      };
      this.watchers.add(look);
      look();
    });
  }

  /** The link, as soon as the room is attached and caught up. Rejects with `RoomOver`. */
  async whenLive(): Promise<Link> {
    await this.until(() => this.isLive && this.link !== undefined);
    return this.link as Link;
  }

  /** Act after so many milliseconds, unless the room is closed by then; returns how to stop that. */
  later(act: () => void, delay: number): () => void {
    const stop = () => {
      clearTimeout(timer);
      this.timers.delete(stop);
    };
    const timer = setTimeout(
      () => {
        stop();
        act();
      },
      Math.min(delay, LONGEST_TIMER_MS),
    );
    this.timers.add(stop);
    return stop;
  }

  /** So many milliseconds; rejects with `RoomOver` if the room ends meanwhile. */
  pause(delay: number): Promise<boolean> {
    return this.until(() => false, delay);
  }

  /**
   * One thing after the other: the vault has one writer, and entries come in order. Rejects with
   * `RoomOver` if the vault is another's by then.
   */
  enqueue(act: () => Promise<void>): Promise<void> {
    const done = this.queue.then(() => {
      if (this.over) throw overNow();
      return act();
    });
    this.queue = done.catch(() => undefined);
    return done;
  }

  /** A turn, settled once it is in the vault; rejects with `RoomOver` or `VaultError`. */
  change(act: (draft: Draft) => void | Promise<void>): Promise<void> {
    return this.enqueue(() => this.commit(act));
  }

  /** From inside of `enqueue`: all of a turn, or nothing of it. */
  async commit(act: (draft: Draft) => void | Promise<void>): Promise<void> {
    const draft: Draft = {
      turn: new Turn(this.vault),
      view: this.view,
      saved: this.saved,
      marks: this.marks,
    };
    await act(draft);
    const { turn, view, saved, marks } = draft;
    if (view !== this.view) saveView(turn, this.id, view, this.view);
    if (saved !== this.saved) turn.put(this.tables.rooms, this.id, savedRoom.write(saved));
    if (marks !== this.marks) saveMarks(turn, this.id, marks);
    if (this.over) throw overNow();
    try {
      await this.vault.commit(turn);
    } catch (error) {
      if (!(error instanceof VaultLocked)) throw error;
      this.close(); // another tab has it: what is said there counts
      throw overNow();
    }
    const [before, hub] = [this.saved, hubOf(this.view.state)];
    this.alarms.settle((alarm) => alarm.startsWith(OF_THE_VAULT));
    this.view = view;
    this.saved = saved;
    this.marks = marks;
    if (!isSamePlace(before, saved)) this.listeners.moved?.(before);
    if (turn.writes.has(this.tables.archive)) this.revision += 1;
    if (saved.status !== "active") this.live = false;
    this.changed();
    if (!equal(hub, hubOf(view.state))) await this.listeners.hubMoved?.();
  }

  /** What came could not be kept: it comes again on the next link, and its person hears why. */
  failed(error: unknown): void {
    if (error instanceof RoomOver) return;
    this.alarms.raise(toldOf(error));
    this.link?.close();
  }

  /**
   * Somebody has signed what can not be true beside the log here, about entry `seq`: the `evidence`, the
   * envelopes that show it, is kept, and the room frozen; `code` says what it is. What is frozen or over
   * stays as it is. Of what was before a move by force people only hear: root has ended that.
   */
  freeze(
    reason: Told,
    seq: number,
    code = "",
    evidence: readonly Uint8Array[] = [],
  ): Promise<void> {
    return this.commit((draft) => {
      const isPast = isEnded(this, draft, seq);
      const isNew = keepEvidence(draft.turn, this.tables, evidence, isPast ? "offence" : "proof");
      if (draft.saved.status !== "active") return;
      if (!isPast) amend(draft, { status: "frozen", reason, code });
      else if (isNew) warn(draft, reason);
    });
  }

  /** Its log and this one are one, or were made so. */
  doubtNoMore(): void {
    this.isDoubted = false;
  }

  /**
   * The relay says that the log's running hash after `seq` is `log`: to be checked once it has come
   * there, on whatever link that is (ledger.ts).
   */
  vouch(seq: number, log: Uint8Array): Promise<void> {
    return this.enqueue(async () => {
      const known = this.view.log;
      const mine = hashAt(known, seq);
      if (mine !== undefined && !equal(mine, log)) this.misfit(told("fork"));
      if (seq > known.seq)
        await this.commit(({ turn }) => keepVouched(turn, this.id, { seq, log }));
    });
  }

  /** Where the log must end at least: what is here of it, or was vouched for. */
  get knownEnd(): number {
    return Math.max(this.view.log.seq, vouchedIn(this.vault, this.id)?.seq ?? 0);
  }
}

const overNow = () => new RoomOver("the room can not be used any more");

export const isSamePlace = (one: Place, other: Place): boolean =>
  one.url === other.url && equal(one.relayId, other.relayId);

/** By a word of the relay's alone, as an earlier version had it: that freezes no room any more. */
export function isFrozenByWord({ vault, tables, saved }: RoomCore): boolean {
  const { status, reason, code } = saved;
  // That is how a proof froze it, too; but then there is one.
  const isBare = reason.startsWith("log.fork") && vault.items(tables.evidence).length === 0;
  return status === "frozen" && (code === "hub_behind" || reason === "fork" || isBare);
}

/** Whether an entry stood before a move by force, that is here or was told. */
export function isEnded(
  { tables }: RoomCore,
  { turn, view }: Pick<Draft, "turn" | "view">,
  seq: number,
): boolean {
  const ahead = turn.get(tables.state, AHEAD);
  const told = ahead && readMove(ahead).record;
  return (
    (told?.force && seq <= told.seen.seq) ||
    view.state.moved.some((hub) => hub.forced && seq < hub.since)
  );
}

/** Removed by an owner, for all that was shown here: a move of the room may have made that void. */
export const isEvicted = ({ status, reason }: Pick<SavedRoom, "status" | "reason">): boolean =>
  status === "removed" && reason === "evicted";

/** The code of a room that is active, though its member was evicted: that may be void. */
export const MAYBE_BACK = "maybe_back";

/** A move by force was taken: whatever proved two histories, root has ended that, and signed which goes on. */
export function thaw(draft: Draft): void {
  const { status, reason } = draft.saved;
  if (status !== "frozen" || reason.startsWith("join.")) return; // for a key in an ADMIT
  amend(draft, { status: "active", reason: "", code: "" });
}

export function amend(draft: Draft, changes: Partial<SavedRoom>): void {
  draft.saved = { ...draft.saved, ...changes };
}

export function mark(draft: Draft, changes: Partial<Marks>): void {
  draft.marks = { ...draft.marks, ...changes };
}

/** For what goes on by itself: that the room ended meanwhile is no failure. */
export function unlessOver(error: unknown): void {
  if (!(error instanceof RoomOver)) throw error;
}
