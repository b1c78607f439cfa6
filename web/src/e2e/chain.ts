/** The control log, replayed and verified: who is in the room, by signatures alone. */

import { equal } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { roomIdOf } from "../protocol/ids.ts";
import { type ControlRecord, isControl } from "../protocol/records.ts";
import { apply, found, keyOf, Refused, type RoomState } from "../protocol/room.ts";
import {
  checkHandover,
  checkKeys,
  eventId,
  isOf,
  openSigned,
  peek,
  type Signed,
} from "../themis/index.ts";

/** The state that GENESIS opens; throws unless it founds `room`. */
export function openGenesis(room: Uint8Array, envelope: Uint8Array): RoomState {
  const claimed = peek(envelope);
  if (!isOf(claimed, "genesis")) {
    throw new Malformed("bad_record", "the control log does not begin with GENESIS");
  }
  const { record } = claimed;
  checkKeys(record.sign_key, record.enc_key);
  const { payload } = openSigned(record.sign_key, envelope);
  if (!equal(roomIdOf(payload), room)) {
    throw new Refused("not_found", "this GENESIS founds another room");
  }
  return found(record, payload);
}

/** The state after the control record in `envelope`, which stands at `seq` of the room log. */
export function applyVerified(
  state: RoomState,
  envelope: Uint8Array,
  seq: number,
): { state: RoomState; signed: Signed<ControlRecord> } {
  const { record } = peek(envelope);
  if (!isControl(record) || record.type === "genesis") {
    throw isControl(record)
      ? new Refused("not_found")
      : new Malformed("bad_record", "this is not a control record");
  }
  const signed = openSigned(keyOf(state, record), envelope) as Signed<ControlRecord>;
  if (seq <= state.seq) {
    throw new Refused("out_of_order", "a control record came out of order");
  }
  if (record.type === "handover") checkHandover(state, record);
  if (record.type === "admit") checkKeys(record.sign_key, record.enc_key);
  if (record.type === "update_e") checkKeys(record.enc_key);
  return { state: apply(state, record, eventId(signed), seq), signed };
}

/** One record of the control log, and where it stands. */
export type Standing = readonly [seq: number, envelope: Uint8Array];

/**
 * The state after a whole control log, GENESIS first.
 *
 * Stops after the record with the id `until`, which must come; leaves out records from seq `before`
 * on. Throws at the first record that does not hold.
 */
export function verifyChain(
  room: Uint8Array,
  records: Iterable<Standing>,
  { until, before = Number.POSITIVE_INFINITY }: { until?: Uint8Array; before?: number } = {},
): RoomState {
  let state: RoomState | undefined;
  for (const [seq, envelope] of records) {
    if (state === undefined) {
      if (seq !== 0) throw new Refused("out_of_order", "the control log does not begin at 0");
      state = openGenesis(room, envelope);
    } else if (seq >= before) break;
    else state = applyVerified(state, envelope, seq).state;
    if (until !== undefined && equal(state.ctl, until)) return state;
  }
  if (state === undefined || until !== undefined) {
    throw new Refused("not_found", "the control log is cut short");
  }
  return state;
}
