/**
 * What waits in the outbox, as it is kept in the vault (ofcd/client/queued.py): a message, the event
 * that it was last made into, and what is known of whether that may stand in the log.
 */

import type { Body, Content } from "../e2e/bodies.ts";
import { sealEvent } from "../e2e/events.ts";
import { nextOf, seenOf } from "../e2e/log.ts";
import type { View } from "../e2e/view.ts";
import { b64encode, fromHex, hex } from "../protocol/bytes.ts";
import { eventId, randomBytes } from "../themis/index.ts";
import { contentFrom, contentJson } from "./contents.ts";
import { type Draft, mark } from "./core.ts";
import { json } from "./saved.ts";
import { type Marks, padded, type Tables } from "./tables.ts";
import { type Told, told } from "./told.ts";
import type { Turn } from "./vault.ts";

/** As many as one body may declare, and as many as are kept. */
const VOIDS = 16;
const VOIDS_KEPT = 256;

/** What waits in the outbox, as its sender sees it. */
export interface Waiting {
  readonly id: string;
  readonly content: Content;
  readonly ts: number;
  /** Why it will not be sent; "" while it waits. */
  readonly failed: Told;
}

/** The event that a message was last made into. Ids are hex. */
export interface Made {
  readonly record: string;
  readonly cell: string;
  readonly eventId: string;
  readonly counter: number;
  readonly prev: string;
  readonly ctl: string;
  readonly seen: number;
}

export interface Item {
  readonly sid: string;
  readonly ts: number;
  readonly content: unknown;
  readonly failed: string;
  readonly made?: Made | undefined;
  /** The relay may have it as it was made: it is posted again byte for byte. */
  readonly isPosted?: boolean;
  /** It was said anew: the same may stand in the log under another sid. */
  readonly isAgain?: boolean;
}

/** Say this, behind all that waits; the item's sid in hex. */
export function enqueued(
  turn: Turn,
  { outbox }: Tables,
  content: Content,
  isAgain = false,
): string {
  const last = turn.items(outbox).at(-1)?.[0] ?? padded(0);
  const item: Item = {
    sid: hex(randomBytes(16)),
    ts: Date.now(),
    content: contentJson(content),
    failed: "",
    ...(isAgain && { isAgain }),
  };
  turn.put(outbox, padded(Number(last) + 1), json.write(item));
  return item.sid;
}

type Standing = Pick<Draft, "view" | "marks">;

interface Next {
  readonly counter: number;
  readonly prev: Uint8Array;
}

/** Counter and `prev` of this member's next event, by what is known to be in the log. */
export function ownNext(view: View, marks: Marks): Next {
  const told = nextOf(view.senders, view.state.room, view.mine.mid);
  if (marks.ownCounter < told.counter) return told;
  return { counter: marks.ownCounter + 1, prev: fromHex(marks.ownLast) };
}

/** What was posted on a link and has not come back. */
export class Flight {
  /** In order, by its id in the outbox. */
  private readonly made = new Map<string, Made>();
  /** One was refused: nothing more is posted until all are answered. */
  isDraining = false;

  get isEmpty(): boolean {
    return this.made.size === 0;
  }

  has(id: string): boolean {
    return this.made.has(id);
  }

  get(id: string): Made | undefined {
    return this.made.get(id);
  }

  posted(id: string, made: Made): void {
    this.made.set(id, made);
  }

  /** It was answered. */
  landed(id: string): void {
    this.made.delete(id);
    if (this.isEmpty) this.isDraining = false;
  }

  /** The next link's sync tells what of it stands in the log. */
  linkLost(): void {
    this.made.clear();
    this.isDraining = false;
  }

  /** Counter and `prev` of the event that comes behind it. */
  next({ view, marks }: Standing): Next {
    const { last } = this;
    if (last === undefined) return ownNext(view, marks);
    return { counter: last.counter + 1, prev: fromHex(last.eventId) };
  }

  /** Whether an event made now can follow: no refusal of what is under way is to come. */
  mayFollow({ view, marks }: Standing): boolean {
    const { last } = this;
    if (last === undefined) return true;
    return last.counter >= ownNext(view, marks).counter && last.ctl === hex(view.state.ctl);
  }

  private get last(): Made | undefined {
    return [...this.made.values()].at(-1);
  }
}

/** A message as an event. Throws `KeyMissing`, `Refused`, `BodyInvalid`. */
export function sealed(
  { view, marks, saved }: Draft,
  item: Item,
  counter: number,
  prev: Uint8Array,
): Made {
  const { state, mine, keys, log } = view;
  const voids: Body["voids"] = marks.voided
    .filter(([at]) => at === counter)
    .slice(-VOIDS)
    .map(([, one]) => fromHex(one));
  const message = {
    content: contentFrom(item.content),
    sid: fromHex(item.sid),
    counter,
    prev,
    ts: item.ts,
    name: saved.myName,
    voids,
  };
  const seen = seenOf(log);
  const { signed, cell } = sealEvent(state, mine, keys, message, seen);
  return {
    record: b64encode(signed.envelope),
    cell: b64encode(cell),
    eventId: hex(eventId(signed)),
    counter,
    prev: hex(prev),
    ctl: hex(state.ctl),
    seen: seen.seq,
  };
}

/** Why what will not be sent may have been, for all that is known here. */
const DOUBTFUL: ReadonlySet<Told> = new Set([
  told("out_gone_doubtful"),
  told("out_put_back"),
  told("out_unknown"),
]);

/** Whether it may stand in the log, now or later. */
export const mayBeSaid = ({ failed, made, isAgain = false }: Item): boolean =>
  isAgain || (failed === "" ? made !== undefined : DOUBTFUL.has(failed));

/** No person has said it, and none could say it again. */
export const SILENT = new Set(["beat", "compare", "compare_end"]);

/** Said with a member's keys, or in its place: a new member has nothing to do with it. */
const OF_THE_MEMBER = new Set([
  "beat",
  "compare",
  "compare_end",
  "handover_offer",
  "handover_accept",
]);

/** A message of the outbox for who is a new member now; undefined if it is not theirs to say. */
export function leftToSend(raw: Uint8Array): Uint8Array | undefined {
  const { made, isPosted: _, ...item } = json.read<Item>(raw);
  if (OF_THE_MEMBER.has(contentFrom(item.content).type)) return undefined;
  const failed = item.failed || (made ? told("out_unknown") : "");
  return json.write({ ...item, failed } satisfies Item);
}

/** The messages posted, up to the event `last`: each names the one before it. */
export function upTo(items: readonly [string, Item][], last: string): [string, Item][] {
  const posted = items.filter(([, { made, failed }]) => made !== undefined && failed === "");
  return posted.slice(0, posted.findIndex(([, { made }]) => made?.eventId === last) + 1);
}

/** An own event that was signed and will not be: the one that takes its counter says so. */
export function keepVoid(
  draft: Draft,
  { counter, eventId: id }: Pick<Made, "counter" | "eventId">,
): void {
  const next = ownNext(draft.view, draft.marks).counter;
  if (counter < next) return;
  const open = draft.marks.voided.filter(([at]) => at >= next);
  mark(draft, { voided: [...open, [counter, id] as const].slice(-VOIDS_KEPT) });
}
