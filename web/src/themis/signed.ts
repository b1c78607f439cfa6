/** Signed records: a record inside a Themis signed message, verbatim. */

import { equal } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { eventIdOf, payloadHash } from "../protocol/ids.ts";
import {
  decodeRecord,
  encodeRecord,
  type RecordOf,
  type SignedRecord,
} from "../protocol/records.ts";
import { checkAccepted, memberOf, Refused, type RoomState } from "../protocol/room.ts";
import { BadSignature, isOnCurve, sign, unverifiedPayload, verify } from "./core.ts";

/** A record, the payload that was signed, and the envelope that carries both. */
export interface Signed<R extends SignedRecord = SignedRecord> {
  readonly record: R;
  readonly payload: Uint8Array;
  readonly envelope: Uint8Array;
}

export const eventId = (signed: Signed) => eventIdOf(signed.payload);
/** The hash by which join messages name each other. */
export const hashOf = (signed: Signed) => payloadHash(signed.payload);

export function signRecord<R extends SignedRecord>(privateKey: Uint8Array, record: R): Signed<R> {
  const payload = encodeRecord(record);
  return { record, payload, envelope: sign(privateKey, payload) };
}

/** The record in `envelope`, NOT verified. Throws `Malformed` if there is none. */
export function peek(envelope: Uint8Array): Signed {
  let payload: Uint8Array;
  try {
    payload = unverifiedPayload(envelope);
  } catch (error) {
    if (!(error instanceof BadSignature)) throw error;
    throw new Malformed("bad_record", "this is not a signed record");
  }
  return { record: decodeRecord(payload), payload, envelope };
}

/** The record in `envelope`, verified under `key`; throws `Refused` (bad_signature), `Malformed`. */
export function openSigned(key: Uint8Array, envelope: Uint8Array): Signed {
  let payload: Uint8Array;
  try {
    payload = verify(key, envelope);
  } catch (error) {
    if (!(error instanceof BadSignature)) throw error;
    throw new Refused("bad_signature");
  }
  return { record: decodeRecord(payload), payload, envelope };
}

export const isOf = <T extends SignedRecord["type"]>(
  signed: Signed,
  type: T,
): signed is Signed<RecordOf<T>> => signed.record.type === type;

/** The keys that a record brings are points on the curve; else `Malformed` (bad_key). */
export function checkKeys(...keys: readonly Uint8Array[]): void {
  if (!keys.every(isOnCurve)) throw new Malformed("bad_key", "a key is not a point on the curve");
}

/** The nested HANDOVER_ACCEPT is the heir's, for this room and this root; else `Refused`. */
export function checkHandover(state: RoomState, record: RecordOf<"handover">): void {
  const heir = memberOf(state, record.to);
  const accept = openSigned(heir.signKey, record.accept).record;
  const fits =
    accept.type === "handover_accept" &&
    equal(accept.room, state.room) &&
    equal(accept.root, record.mid) &&
    equal(accept.mid, record.to);
  if (!fits) throw new Refused("forbidden", "the heir has not accepted this handover");
  checkAccepted(state, accept.ctl);
}
