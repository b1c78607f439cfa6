/**
 * What is said and not yet in the log (ofcd/client/outbox.py). It is in the vault before it is sent,
 * and keeps its sid, so that the relay and all readers know it for the same message however often it
 * is sent.
 *
 * One event waits for its answer at a time; behind it stand those that the relay has and that have
 * not come back yet, each naming the one before it. If one is refused, those behind it are refused
 * too, and nothing more is sent until all of them are answered. Refused for good, the next event
 * takes its counter and declares it void.
 */

import { BodyInvalid, type Content } from "../e2e/bodies.ts";
import { KeyMissing } from "../e2e/epochs.ts";
import { b64decode, hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { mayPost, Refused } from "../protocol/room.ts";
import { type Link, LinkLost, RelayRefused, waitOf } from "../wire/link.ts";
import { aimed, targetOf } from "./aiming.ts";
import { sidKey, voidOf } from "./aside.ts";
import { keepDrop } from "./blobdrops.ts";
import { contentFrom, contentJson } from "./contents.ts";
import { type Draft, mark, type RoomCore, unlessOver } from "./core.ts";
import { find } from "./journal.ts";
import { misfitOf } from "./lagging.ts";
import {
  enqueued,
  Flight,
  type Item,
  keepVoid,
  type Made,
  mayBeSaid,
  ownNext,
  SILENT,
  sealed,
  upTo,
  type Waiting,
} from "./queued.ts";
import { json } from "./saved.ts";
import { padded } from "./tables.ts";
import { refusedWith, type Told, told, toldOf } from "./told.ts";
import { type Turn, VaultError } from "./vault.ts";
import type { Said } from "./voiding.ts";

/** After these the same words may be taken, once what was missed has come. */
const CATCH_UP = new Set([
  "epoch_stale",
  "ctl_stale",
  "seen_stale",
  "counter_gap",
  "prev_mismatch",
]);
/** The relay can not take it now. */
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
/** The link does not know this room any more: it is opened anew. */
const RELINK = new Set(["not_attached", "not_found"]);
/** The relay shows another log than the one that is known here. */
const MISFITS = new Set(["fork", "hub_behind"]);
const CATCH_UP_MS = 15_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;
type Answer = Extract<RelayFrame, { type: "failure" }>;
type Returned = Extract<RelayFrame, { type: "returned" }>;
/** What is looked at of a refusal. */
type Refusal = Pick<Answer, "code" | "text" | "seq" | "event_id" | "retry_after">;

export class Outbox {
  private isSending = false;
  private readonly flight = new Flight();
  /** What is waited for before the next attempt; an object of its own each time. */
  private waiting: object | undefined;
  private backoff = FIRST_PAUSE_MS;

  constructor(private readonly core: RoomCore) {}

  items(): Waiting[] {
    return this.all(this.core.vault).map(([id, { content, ts, failed }]) => {
      return { id, content: contentFrom(content), ts, failed };
    });
  }

  /** Queue something to be said; settled once it is safely in the vault. */
  async send(content: Content): Promise<void> {
    await this.core.change(async ({ turn }) => {
      this.put(turn, await aimed(this.core, content));
    });
    this.pump();
  }

  /** The same, in a turn of the caller's; its sid in hex. */
  put(turn: Turn, content: Content, isAgain = false): string {
    return enqueued(turn, this.core.tables, content, isAgain);
  }

  /** Take back what will not be sent, or was not yet; the relay is to forget its file. */
  discard(id: string): Promise<void> {
    return this.amend(id, ({ turn, saved }, item) => {
      turn.delete(this.core.tables.outbox, id);
      const content = contentFrom(item.content);
      if (content.type !== "file" || mayBeSaid(item) || saved.status === "removed") return;
      keepDrop(turn, this.core.tables, hex(content.blob_id), this.core.me);
    });
  }

  /** Say anew what was refused; settled once it is safely in the vault. */
  async retry(id: string): Promise<void> {
    await this.core.change(({ turn }) => {
      const raw = turn.get(this.core.tables.outbox, id);
      if (raw === undefined) return;
      turn.delete(this.core.tables.outbox, id);
      const item = json.read<Item>(raw);
      this.put(turn, contentFrom(item.content), mayBeSaid(item));
    });
    this.pump();
  }

  /** Take back what was never posted; whether it was so. */
  withdraw(turn: Turn, sid: string): boolean {
    const found = this.all(turn).find(([, item]) => item.sid === sid);
    if (found === undefined || (found[1].made !== undefined && found[1].failed === ""))
      return false;
    turn.delete(this.core.tables.outbox, found[0]);
    return true;
  }

  /** Whether something waits that may still be sent. */
  get isBusy(): boolean {
    return this.all(this.core.vault).some(([, { failed }]) => failed === "");
  }

  linkLost(): void {
    this.flight.linkLost();
    this.waiting = undefined;
  }

  /** An event of this sid stands in the log. */
  arrived(turn: Turn, sid: Uint8Array): void {
    for (const [id, item] of this.all(turn)) {
      if (item.sid === hex(sid)) this.accept(turn, id);
    }
  }

  /** Nothing will ever be sent here again. */
  giveUp(draft: Draft): void {
    for (const [id, item] of this.all(draft.turn)) {
      const why = told(item.made ? "out_gone_doubtful" : "out_gone");
      if (item.failed === "") this.fail(draft, id, item, why);
    }
  }

  /**
   * This member's last event at the relay is number `counter`, `last`, and the log that is read here
   * lacks it. If that is none of these, the vault was put back to an earlier state: what waits here
   * may then have been sent long ago. But where the log was cut in a gap, that had been found out before.
   */
  takeUp(draft: Draft, counter: number, last: Uint8Array): void {
    const waiting = this.all(draft.turn).filter(([, { failed }]) => failed === "");
    const known = upTo(waiting, hex(last));
    for (const [id] of known) this.accept(draft.turn, id);
    if (known.length === 0 && !draft.marks.recounts)
      for (const [id, item] of waiting) this.fail(draft, id, item, told("out_put_back"));
    mark(draft, { ownCounter: counter, ownLast: hex(last) });
  }

  /**
   * What this member `said` came to nothing: it is sent again, before all that waits. What waits is
   * sealed anew, too: the key that it was sealed under may be void.
   */
  beginAnew(draft: Draft, said: readonly Said[]): void {
    const { turn } = draft;
    const { outbox } = this.core.tables;
    const waiting = this.all(turn).map(([, item]) => item);
    const known = new Set(waiting.map(({ sid }) => sid));
    for (const one of said) keepVoid(draft, one);
    for (const { made } of waiting) if (made !== undefined) keepVoid(draft, made);
    const again = said
      .filter(({ sid }) => !known.has(sid))
      .map(({ content, sid, ts }) => ({ sid, ts, content: contentJson(content), failed: "" }));
    // None has a number of before: what was under way of that is about nothing any more.
    let last = Number(turn.items(outbox).at(-1)?.[0] ?? 0);
    for (const [id] of this.all(turn)) turn.delete(outbox, id);
    for (const { made: _, isPosted: __, ...item } of [...again, ...waiting] as Item[]) {
      last += 1;
      turn.put(outbox, padded(last), json.write(item));
    }
  }

  /** The relay that this one's relay kept an event for refuses it. */
  async returned({ sid, event_id, code, text, seq, last }: Returned): Promise<void> {
    const found = this.all(this.core.vault).find(([, item]) => item.sid === hex(sid));
    if (found?.[1].made?.eventId !== hex(event_id)) return;
    await this.notTaken(found[0], { code, text, seq, event_id: last, retry_after: undefined });
    this.pump();
  }

  // -- sending ---------------------------------------------------------------------------------

  /** Send the next one, if it is time. */
  pump(): void {
    const { core } = this;
    const { link, myself } = core;
    if (this.isSending || this.flight.isDraining || this.waiting !== undefined) return;
    if (!core.isLive || link === undefined || myself === undefined || !mayPost(myself)) return;
    const id = this.nextId();
    if (id === undefined || !this.flight.mayFollow(core)) return;
    if (!core.view.keys.keys.has(core.view.state.epoch)) return; // asked for: see duties.ts
    this.isSending = true;
    void this.post(link, id)
      .catch((error: unknown) => {
        if (error instanceof VaultError) this.unkept(error);
        else unlessOver(error);
        return false;
      })
      .finally(() => {
        this.isSending = false;
      })
      .then((goOn) => {
        if (goOn) this.pump();
      });
  }

  /** It is tried again in a while: the browser may have room by then. */
  private unkept(error: VaultError): void {
    this.core.alarms.raise(toldOf(error));
    this.rest(0);
  }

  private all(from: Pick<Turn, "items">): [string, Item][] {
    return from.items(this.core.tables.outbox).map(([id, raw]) => [id, json.read<Item>(raw)]);
  }

  private nextId(): string | undefined {
    const waiting = this.all(this.core.vault).find(
      ([id, { failed }]) => failed === "" && !this.flight.has(id),
    );
    return waiting?.[0];
  }

  /** Whether the next one may go at once. */
  private async post(link: Link, id: string): Promise<boolean> {
    const made = await this.ready(id);
    if (made === "wait" || made === "next") return made === "next";
    if (this.core.link !== link) return false;
    const { room } = this.core.view.state;
    this.flight.posted(id, made);
    const [record, cell] = [b64decode(made.record), b64decode(made.cell)];
    try {
      const answer = await link.ask({ type: "post", room, record, cell });
      // It leaves the outbox when it comes back in the log, maybe before this answer.
      if ("event_id" in answer && answer.event_id && hex(answer.event_id) !== made.eventId) {
        link.close();
        return false;
      }
      if (answer.type === "ack") {
        const vouched = this.core.vouch(answer.seq, answer.log);
        void vouched.catch((error) => this.core.failed(error));
      }
      this.backoff = FIRST_PAUSE_MS;
      return true;
    } catch (error) {
      if (error instanceof LinkLost) return false;
      if (!(error instanceof RelayRefused)) throw error;
      if (this.core.link !== link) return false; // that relay was left meanwhile
      return this.notTaken(id, error.failure);
    }
  }

  /** The message as an event, kept; "next" if it will not be sent, "wait" if it can not be now. */
  private async ready(id: string): Promise<Made | "next" | "wait"> {
    let outcome: Made | "next" | "wait" = "next";
    await this.core.change(async (draft) => {
      const raw = draft.turn.get(this.core.tables.outbox, id);
      if (raw === undefined) return;
      const item = await this.aim(draft, id, json.read<Item>(raw));
      outcome = typeof item === "string" ? item : this.prepare(draft, id, item);
    });
    return outcome;
  }

  /**
   * The item by what its target is called now; "wait" where that is to be said again first, and "next"
   * where nobody says it again: it has failed.
   */
  private async aim(draft: Draft, id: string, item: Item): Promise<Item | "next" | "wait"> {
    const { core } = this;
    const content = contentFrom(item.content);
    const target = targetOf(content);
    if (target === undefined) return item; // what is said again is to read as it did
    if ((await find(core, target)) !== undefined)
      return { ...item, content: contentJson(await aimed(core, content)) };
    const gone = await voidOf(core, target);
    if (gone === undefined) return item;
    const waiting = this.all(draft.turn).filter(([, { failed }]) => failed === "");
    if (waiting.some(([, { sid }]) => sidKey(core.me, sid) === gone)) return "wait";
    this.fail(draft, id, item, told("out_void"));
    return "next";
  }

  private prepare(draft: Draft, id: string, item: Item): Made | "next" | "wait" {
    const { counter, prev } = this.flight.next(draft);
    const { made: before } = item;
    const isFirst = this.flight.isEmpty;
    if (before !== undefined && item.isPosted) {
      const fits = before.counter === counter && before.prev === hex(prev);
      if (isFirst || fits) return before; // byte for byte: the relay may have it
    }
    try {
      const made = sealed(draft, item, counter, prev);
      if (before !== undefined && before.counter !== counter) keepVoid(draft, before);
      const kept: Item = { ...item, made, isPosted: true };
      draft.turn.put(this.core.tables.outbox, id, json.write(kept));
      return made;
    } catch (error) {
      if (error instanceof KeyMissing) return "wait"; // asked for: see duties.ts
      if (!(error instanceof Refused || error instanceof BodyInvalid)) throw error;
      this.fail(draft, id, item, toldOf(error));
      return "next";
    }
  }

  // -- what became of it -----------------------------------------------------------------------

  /** Whether the next one may go at once. */
  private async notTaken(id: string, refusal: Refusal): Promise<boolean> {
    const { code } = refusal;
    const isFirst = !this.flight.isDraining; // what comes behind it is refused only because of it
    this.flight.isDraining = true;
    if (this.isComing(refusal)) return false;
    try {
      if (await this.isThere(id, refusal)) return true;
      if (CATCH_UP.has(code)) {
        await this.catchUp(id, code, isFirst);
        return true; // what is waited for may have come meanwhile
      }
      if (LATER.has(code)) {
        if (isFirst) this.rest(waitOf(refusal));
        return false;
      }
      if (MISFITS.has(code)) this.doubt(refusal);
      else if (RELINK.has(code)) this.core.link?.close();
      else {
        await this.amend(id, (draft, item) => this.fail(draft, id, item, refusedWith(code)));
        return true;
      }
      return false;
    } finally {
      this.flight.landed(id);
    }
  }

  /** That proves nothing: attached anew, it tells how far it is, and is sent this once more. */
  private doubt({ code, seq }: Refusal): void {
    const { saved, view } = this.core;
    this.core.isDoubted = true;
    this.linkLost();
    this.core.misfit(misfitOf(view.state, saved.relayId, code, seq ?? view.log.seq));
  }

  /**
   * Whether the refusal says that an earlier form of this message, or this one, is in the log, and is yet to
   * come here: till then it is under way, as if acknowledged, since it may come to be void.
   */
  private isComing({ code, seq = -1 }: Refusal): boolean {
    return code === "sid_conflict" && seq > this.core.view.log.seq;
  }

  /** Or that it stands where entries were missed here. */
  private async isThere(id: string, { code, event_id, seq }: Refusal): Promise<boolean> {
    if (code !== "sid_conflict" || event_id === undefined || seq === undefined) return false;
    await this.amend(id, (draft, { made }) => {
      this.accept(draft.turn, id);
      if (made === undefined || made.counter < ownNext(draft.view, draft.marks).counter) return;
      mark(draft, { ownCounter: made.counter, ownLast: hex(event_id) });
    });
    return true;
  }

  /** It is made anew once what was missed has come. */
  private async catchUp(id: string, code: string, isFirst: boolean): Promise<void> {
    const made = this.flight.get(id);
    await this.amend(id, (draft, item) => {
      const kept: Item = { ...item, isPosted: false };
      draft.turn.put(this.core.tables.outbox, id, json.write(kept));
    });
    if (made !== undefined && isFirst) this.awaitLog(made, code);
  }

  private awaitLog(made: Made, code: string): void {
    const { core } = this;
    const isOver = () => {
      const { view, marks } = core;
      if (code === "seen_stale") return view.log.seq > made.seen;
      if (code === "epoch_stale" || code === "ctl_stale") return hex(view.state.ctl) !== made.ctl;
      const next = ownNext(view, marks);
      return next.counter !== made.counter || hex(next.prev) !== made.prev;
    };
    const held = this.hold();
    void core
      .until(() => this.waiting !== held || isOver(), CATCH_UP_MS)
      .then((came) => {
        if (this.waiting !== held) return;
        this.waiting = undefined;
        if (came) this.pump();
        else core.link?.close(); // the next one brings what was missed
      })
      .catch(unlessOver);
  }

  private rest(wish: number): void {
    const held = this.hold();
    const delay = Math.max(this.backoff, wish);
    this.backoff = Math.min(2 * this.backoff, LONGEST_PAUSE_MS);
    this.core.later(() => {
      if (this.waiting !== held) return;
      this.waiting = undefined;
      this.pump();
    }, delay);
  }

  private hold(): object {
    this.waiting = {};
    return this.waiting;
  }

  private accept(turn: Turn, id: string): void {
    this.core.doubtNoMore();
    turn.delete(this.core.tables.outbox, id);
    this.flight.landed(id);
  }

  /** Change an item, unless it was taken back meanwhile. */
  private amend(id: string, act: (draft: Draft, item: Item) => void): Promise<void> {
    return this.core.change((draft) => {
      const raw = draft.turn.get(this.core.tables.outbox, id);
      if (raw !== undefined) act(draft, json.read<Item>(raw));
    });
  }

  private fail(draft: Draft, id: string, item: Item, failed: Told): void {
    const { made, isPosted: _, ...rest } = item;
    const { outbox } = this.core.tables;
    if (SILENT.has(contentFrom(item.content).type)) draft.turn.delete(outbox, id);
    else draft.turn.put(outbox, id, json.write({ ...rest, failed } satisfies Item));
    if (made !== undefined) keepVoid(draft, made);
  }
}
