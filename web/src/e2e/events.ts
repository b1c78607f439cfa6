/** Events: a body sealed under the room key, in a header its sender signed. */

import { equal } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { sha256 } from "../protocol/ids.ts";
import { type RecordOf, VERSION } from "../protocol/records.ts";
import { mayAttach, mayPost, memberOf, Refused, type RoomState } from "../protocol/room.ts";
import {
  CannotOpen,
  eventId,
  isOf,
  openSigned,
  peek,
  type Signed,
  seal,
  signRecord,
  unseal,
} from "../themis/index.ts";
import { type Body, type Content, decodeBody, encodeBody, kindOf } from "./bodies.ts";
import { messageContext } from "./contexts.ts";
import { type EpochKeys, KeyMissing, keyFor } from "./epochs.ts";
import type { MemberKeys } from "./keys.ts";
import type { Seen } from "./log.ts";
import { displayName } from "./names.ts";

export type SignedEvent = Signed<RecordOf<"event">>;

export type Reason =
  | "not_an_event"
  | "wrong_room"
  | "not_a_member"
  | "may_not_post"
  | "may_not_attach"
  | "bad_signature"
  | "wrong_epoch"
  | "stale_control"
  | "cell_gone"
  | "cell_mismatch"
  | "missing_key"
  | "key_lost"
  | "bad_seal"
  | "bad_body"
  | "inner_mismatch"
  | "not_a_bridge";

/** Show a marker with the reason where the message stands, never its claimed content. */
export class Unreadable extends Error {
  override readonly name = "Unreadable";

  constructor(readonly reason: Reason) {
    super(`this message can not be shown: ${reason.replaceAll("_", " ")}`);
  }
}

/** A message that was verified and opened. */
export interface Opened {
  readonly event: RecordOf<"event">;
  readonly eventId: Uint8Array;
  readonly body: Body;
}

/** A message as its sender keeps it until it is accepted: the same however often it is sent. */
export interface Outgoing {
  readonly content: Content;
  readonly sid: Uint8Array;
  readonly counter: number;
  /** The sender's last event; the room id before the first. */
  readonly prev: Uint8Array;
  readonly ts: number;
  readonly name: string;
  readonly voids: readonly Uint8Array[];
}

/** `message` under the current room key, signed for the current control head. */
export function sealEvent(
  state: RoomState,
  mine: MemberKeys,
  held: EpochKeys,
  message: Outgoing,
  seen: Seen,
): { signed: SignedEvent; cell: Uint8Array } {
  const me = memberOf(state, mine.mid);
  const { content, counter, sid, prev, ts } = message;
  if (!(content.type === "file" ? mayAttach(me) : mayPost(me))) throw new Refused("forbidden");
  const kind = kindOf(content);
  const context = messageContext(state.room, state.epoch, mine.mid, counter, sid, kind);
  const body: Body = {
    room: state.room,
    mid: mine.mid,
    counter,
    sid,
    name: displayName(message.name),
    hops: 0,
    via: undefined,
    voids: message.voids,
    content,
  };
  const cell = seal(keyFor(held, state.epoch), encodeBody(body), context);
  const signed = signRecord(mine.sign.private, {
    type: "event",
    v: VERSION,
    room: state.room,
    epoch: state.epoch,
    mid: mine.mid,
    counter,
    prev,
    seen,
    ctl: state.ctl,
    kind,
    sid,
    cell_hash: sha256(cell),
    ts,
    target: content.type === "redact" ? content.target : undefined,
  });
  return { signed, cell };
}

/** The header in `envelope`, signed by a member who may post; `state` is the room's at that place. */
export function verifyEvent(state: RoomState, envelope: Uint8Array): SignedEvent {
  const claimed = peeked(envelope);
  const event = claimed.record;
  if (!equal(event.room, state.room)) throw new Unreadable("wrong_room");
  const signed = verified(senderKey(state, event.mid), envelope);
  if (event.epoch !== state.epoch) throw new Unreadable("wrong_epoch");
  if (!equal(event.ctl, state.ctl)) throw new Unreadable("stale_control");
  return signed;
}

function peeked(envelope: Uint8Array): SignedEvent {
  try {
    const claimed = peek(envelope);
    if (isOf(claimed, "event")) return claimed;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
  }
  throw new Unreadable("not_an_event");
}

function senderKey(state: RoomState, mid: Uint8Array): Uint8Array {
  try {
    const sender = memberOf(state, mid);
    if (mayPost(sender)) return sender.signKey;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new Unreadable("not_a_member");
  }
  throw new Unreadable("may_not_post");
}

function verified(key: Uint8Array, envelope: Uint8Array): SignedEvent {
  try {
    return openSigned(key, envelope) as SignedEvent;
  } catch (error) {
    if (error instanceof Refused) throw new Unreadable("bad_signature");
    throw error;
  }
}

/** What the sender of a verified event said; `caps` are those it had when it spoke. */
export function openVerified(
  held: EpochKeys,
  signed: SignedEvent,
  cell: Uint8Array,
  caps: ReadonlySet<string>,
): Opened {
  const event = signed.record;
  const body = openCell(held, event, cell);
  const inner =
    equal(body.room, event.room) &&
    equal(body.mid, event.mid) &&
    body.counter === event.counter &&
    equal(body.sid, event.sid) &&
    kindOf(body.content) === event.kind &&
    sameTarget(body.content, event.target);
  if (!inner) throw new Unreadable("inner_mismatch");
  if (body.via !== undefined && !caps.has("bridge")) throw new Unreadable("not_a_bridge");
  if (body.content.type === "file" && caps.has("no-files")) throw new Unreadable("may_not_attach");
  return { event, eventId: eventId(signed), body };
}

function sameTarget(content: Content, target: Uint8Array | undefined): boolean {
  if (content.type !== "redact") return target === undefined;
  return target !== undefined && equal(content.target, target);
}

function openCell(held: EpochKeys, event: RecordOf<"event">, cell: Uint8Array): Body {
  if (cell.length === 0) throw new Unreadable("cell_gone");
  if (!equal(sha256(cell), event.cell_hash)) throw new Unreadable("cell_mismatch");
  const { room, epoch, mid, counter, sid, kind } = event;
  try {
    const context = messageContext(room, epoch, mid, counter, sid, kind);
    return decodeBody(unseal(keyFor(held, epoch), cell, context));
  } catch (error) {
    if (error instanceof KeyMissing) throw new Unreadable("missing_key");
    if (error instanceof CannotOpen) throw new Unreadable("bad_seal");
    if (error instanceof Malformed) throw new Unreadable("bad_body");
    throw error;
  }
}
