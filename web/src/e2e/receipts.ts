/**
 * Receipts: a member's signed word that its device has the room log up to some entry.
 *
 * Nothing in one is new: every event and control record proves as much in `seen`. It proves that
 * the signer's client computed this L; not that it could read the entries, or that a person did.
 */

import { equal } from "../protocol/bytes.ts";
import { type RecordOf, VERSION } from "../protocol/records.ts";
import type { Member } from "../protocol/room.ts";
import { openSigned, type Signed, signRecord } from "../themis/index.ts";
import { Unreadable } from "./events.ts";
import type { MemberKeys } from "./keys.ts";
import type { Seen } from "./log.ts";

/** My word that I have the log of `room` up to `seen`. */
export function makeReceipt(
  room: Uint8Array,
  mine: MemberKeys,
  seen: Seen,
  now: number,
): Signed<RecordOf<"receipt">> {
  const record = { type: "receipt", v: VERSION, room, mid: mine.mid, seen, ts: now } as const;
  return signRecord(mine.sign.private, record);
}

/** The receipt that `member` signed for `room`; throws `Unreadable`. True where its L is one's own. */
export function openReceipt(
  room: Uint8Array,
  member: Member,
  envelope: Uint8Array,
): RecordOf<"receipt"> {
  const record = opened(member, envelope);
  const isHere = record.type === "receipt" && equal(record.room, room);
  if (!isHere || !equal(record.mid, member.mid)) throw new Unreadable("bad_body");
  return record;
}

function opened(member: Member, envelope: Uint8Array) {
  try {
    return openSigned(member.signKey, envelope).record;
  } catch {
    throw new Unreadable("bad_signature");
  }
}
