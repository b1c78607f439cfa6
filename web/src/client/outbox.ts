/**
 * What is said and not yet in the log. It is in the vault before it is sent, and keeps its sid, so
 * that the relay and all readers know it for the same message however often it is sent.
 */

import type { Content } from "../e2e/bodies.ts";
import { sealEvent } from "../e2e/events.ts";
import { nextOf, seenOf } from "../e2e/log.ts";
import { fromHex, hex } from "../protocol/bytes.ts";
import { mayPost } from "../protocol/room.ts";
import { randomBytes } from "../themis/index.ts";
import { type Link, LinkLost, RelayRefused } from "../wire/link.ts";
import { contentFrom, contentJson } from "./contents.ts";
import type { RoomCore } from "./core.ts";
import { json } from "./saved.ts";
import { padded } from "./tables.ts";
import type { Turn } from "./vault.ts";

/** After these the same words may be taken, once what was missed has been applied. */
const CATCH_UP = new Set([
  "epoch_stale",
  "ctl_stale",
  "seen_stale",
  "prev_mismatch",
  "counter_gap",
]);
const LATER = new Set(["try_again", "storage_failed", "rate_limited", "stalled", "internal"]);
const RETRY_MS = 250;

/** What waits in the outbox, as its sender sees it. */
export interface Waiting {
  readonly id: string;
  readonly content: Content;
  readonly ts: number;
  /** Why the relay refused it for good; "" while it waits. */
  readonly failed: string;
}

interface Item {
  readonly sid: string;
  readonly ts: number;
  readonly content: unknown;
  readonly failed: string;
}

export class Outbox {
  private sending = false;
  /** Sid of the item that the relay took last: it waits for it to come back in the log. */
  private posted = "";

  constructor(private readonly core: RoomCore) {}

  items(): Waiting[] {
    return this.core.vault.items(this.core.tables.outbox).map(([id, raw]) => {
      const { content, ts, failed } = json.read<Item>(raw);
      return { id, content: contentFrom(content), ts, failed };
    });
  }

  /** Queue something to be said; settled once it is safely in the vault. */
  async send(content: Content): Promise<void> {
    await this.core.change(({ turn }) => this.put(turn, content));
    this.pump();
  }

  /** The same, in a turn of the caller's. */
  put(turn: Turn, content: Content): void {
    const { outbox } = this.core.tables;
    const last = turn.items(outbox).at(-1)?.[0] ?? padded(0);
    const item: Item = {
      sid: hex(randomBytes(16)),
      ts: Date.now(),
      content: contentJson(content),
      failed: "",
    };
    turn.put(outbox, padded(Number(last) + 1), json.write(item));
  }

  /** Take back what was refused, or has not been sent. */
  discard(id: string): Promise<void> {
    return this.core.change(({ turn }) => turn.delete(this.core.tables.outbox, id));
  }

  linkLost(): void {
    this.posted = ""; // the next link's sync tells whether it stands in the log
  }

  /** An event of this sid stands in the log. */
  arrived(turn: Turn, sid: Uint8Array): void {
    const { outbox } = this.core.tables;
    for (const [id, raw] of turn.items(outbox)) {
      if (json.read<Item>(raw).sid === hex(sid)) turn.delete(outbox, id);
    }
  }

  /** Send the next one, if it is time. */
  pump(): void {
    const { core } = this;
    const isAllowed = core.myself !== undefined && mayPost(core.myself);
    if (this.sending || !core.isLive || core.link === undefined || !isAllowed) return;
    const next = core.vault
      .items(core.tables.outbox)
      .map(([id, raw]) => [id, json.read<Item>(raw)] as const)
      .find(([, item]) => item.failed === "");
    if (next === undefined || next[1].sid === this.posted) return;
    if (!core.view.keys.keys.has(core.view.state.epoch)) return; // asked for: see duties.ts
    this.sending = true;
    void this.post(core.link, ...next)
      .finally(() => {
        this.sending = false;
      })
      .then((goOn) => {
        if (goOn) this.pump();
      });
  }

  /** Whether the next one may go at once. */
  private async post(link: Link, id: string, item: Item): Promise<boolean> {
    const { state, mine, keys, log, senders } = this.core.view;
    const message = {
      content: contentFrom(item.content),
      sid: fromHex(item.sid),
      ...nextOf(senders, state.room, mine.mid),
      ts: item.ts,
      name: this.core.saved.myName,
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
    if (CATCH_UP.has(code) || LATER.has(code) || failure.retry_after !== undefined) {
      this.core.later(() => this.pump(), failure.retry_after ?? RETRY_MS);
      return false;
    }
    const { outbox } = this.core.tables;
    await this.core.change(({ turn }) => {
      const there = turn.get(outbox, id);
      // Taken back meanwhile: it must not come back.
      if (there === undefined || json.read<Item>(there).sid !== item.sid) return;
      turn.put(outbox, id, json.write({ ...item, failed: failure.text }));
    });
    return true;
  }
}
