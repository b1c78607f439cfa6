/** Room keys by epoch: every one of them matched the commitment that the log signs. */

import { equal, hex } from "../protocol/bytes.ts";
import { keyCommitment, sha256 } from "../protocol/ids.ts";
import type { ControlRecord, RecordOf } from "../protocol/records.ts";
import { memberOf, type RoomState } from "../protocol/room.ts";
import { CannotOpen, KEY_BYTES, type Signed, unseal } from "../themis/index.ts";
import { BoxRejected, openBox } from "./boxes.ts";
import { rekeyContext } from "./contexts.ts";
import type { MemberKeys } from "./keys.ts";

/** The room key of `epoch` is not here; ask for it if it is the current one. */
export class KeyMissing extends Error {
  override readonly name = "KeyMissing";

  constructor(readonly epoch: number) {
    super(`the room key of epoch ${epoch} is not here`);
  }
}

const FAULTS = {
  commitment: "the room key offered is not the one the control log commits to",
  box_hash: "the key box is not the one the signed record lists",
  cannot_open: "the room key offered does not open, or was made for someone else",
  not_an_owner: "a room key was offered by someone who is not an owner",
  other_request: "the key answer belongs to another request",
} as const;

/** What is wrong with a room key that was offered. */
export type KeyFault = keyof typeof FAULTS;

/** Raise the alarm and do not adopt the key: an owner or the relay does not play fair. */
export class KeyRejected extends Error {
  override readonly name = "KeyRejected";

  constructor(readonly fault: KeyFault) {
    super(FAULTS[fault]);
  }
}

export interface EpochKeys {
  /** The GENESIS nonce, which every commitment is bound to. */
  readonly nonce: Uint8Array;
  readonly keys: ReadonlyMap<number, Uint8Array>;
}

export function keyFor(held: EpochKeys, epoch: number): Uint8Array {
  const key = held.keys.get(epoch);
  if (key === undefined) throw new KeyMissing(epoch);
  return key;
}

/** With `key` for `epoch`; throws `KeyRejected` unless it is the one committed to. */
export function adopt(
  held: EpochKeys,
  epoch: number,
  key: Uint8Array,
  commitment: Uint8Array,
): EpochKeys {
  const fits = key.length === KEY_BYTES && equal(keyCommitment(held.nonce, epoch, key), commitment);
  if (!fits) throw new KeyRejected("commitment");
  return { ...held, keys: new Map(held.keys).set(epoch, key) };
}

/**
 * The keys after a verified control record: with the new one, where it is a REKEY for me.
 *
 * Throws `KeyMissing` if it can not be had from here, `KeyRejected` for an alarm.
 */
export function follow(
  state: RoomState,
  mine: MemberKeys,
  held: EpochKeys,
  signed: Signed<ControlRecord>,
  boxed: Uint8Array | undefined,
): EpochKeys {
  const { record } = signed;
  if (record.type === "rekey") return openRoutine(held, record);
  if (record.type !== "rekey_boxed") return held;
  const listed = record.boxes.find(([mid]) => equal(mid, mine.mid));
  if (listed === undefined) return held;
  if (boxed === undefined) throw new KeyMissing(record.epoch);
  if (!equal(sha256(boxed), listed[1])) throw new KeyRejected("box_hash");
  return openBoxed(state, mine, held, record, boxed);
}

function openRoutine(held: EpochKeys, record: RecordOf<"rekey">): EpochKeys {
  const before = keyFor(held, record.epoch - 1);
  const context = rekeyContext(record.room, record.epoch, record.key_commitment, record.prev);
  try {
    const key = unseal(before, record.cell, context);
    return adopt(held, record.epoch, key, record.key_commitment);
  } catch (error) {
    if (error instanceof CannotOpen) throw new KeyRejected("cannot_open");
    throw error;
  }
}

function openBoxed(
  state: RoomState,
  mine: MemberKeys,
  held: EpochKeys,
  record: RecordOf<"rekey_boxed">,
  boxed: Uint8Array,
): EpochKeys {
  const owner = memberOf(state, record.mid);
  try {
    const said = openBox("key", mine, owner, record.room, boxed);
    const fits =
      said.epoch === record.epoch &&
      hex(said.key_commitment) === hex(record.key_commitment) &&
      hex(said.prev) === hex(record.prev);
    if (!fits) throw new KeyRejected("cannot_open");
    return adopt(held, record.epoch, said.key, record.key_commitment);
  } catch (error) {
    if (error instanceof BoxRejected) throw new KeyRejected("cannot_open");
    throw error;
  }
}
