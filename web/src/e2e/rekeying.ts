/** New room keys, and keys that did not come: an owner's half of ofcd/e2e/epochs.py. */

import { equal, hex } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { keyCommitment, sha256 } from "../protocol/ids.ts";
import { type ControlRecord, type RecordOf, VERSION } from "../protocol/records.ts";
import {
  boxedRequired,
  isOwner,
  KEY_RENEWALS,
  type Member,
  memberOf,
  Refused,
  type RoomState,
} from "../protocol/room.ts";
import {
  generateKey,
  hashOf,
  openSigned,
  peek,
  randomBytes,
  type Signed,
  seal,
  signRecord,
} from "../themis/index.ts";
import { BoxRejected, openBox, sealBox } from "./boxes.ts";
import { rekeyContext } from "./contexts.ts";
import { headerFields, type Making, signControl } from "./controls.ts";
import { adopt, type EpochKeys, KeyRejected, keyFor } from "./epochs.ts";
import { checkOwn, type MemberKeys } from "./keys.ts";

const HOUR_MS = 3_600_000;

/** A control record to send, with its boxes in the order the record lists them. */
export interface Made {
  readonly signed: Signed<ControlRecord>;
  readonly boxes: readonly Uint8Array[];
}

/** The next room key, sealed under the current one: whoever has that can follow. */
export function makeRoutineRekey(making: Making, held: EpochKeys): Made {
  const { state } = making;
  const [key, epoch] = [generateKey(), state.epoch + 1];
  const commitment = keyCommitment(state.nonce, epoch, key);
  const context = rekeyContext(state.room, epoch, commitment, state.ctl);
  const signed = signControl(making, {
    type: "rekey",
    ...headerFields(making),
    epoch,
    key_commitment: commitment,
    cell: seal(keyFor(held, state.epoch), key, context),
  });
  return { signed, boxes: [] };
}

/** A fresh room key, boxed for each member who stays; with `removed`, this is EVICT. */
export function makeBoxedRekey(
  making: Making,
  removed: readonly Uint8Array[] = [],
  reason = "",
): Made {
  const { state, mine } = making;
  checkOwn(state, mine);
  const [key, epoch] = [generateKey(), state.epoch + 1];
  const commitment = keyCommitment(state.nonce, epoch, key);
  const content = { epoch, key_commitment: commitment, prev: state.ctl, key };
  const out = new Set(removed.map(hex));
  const staying = [...state.members.values()].filter(({ mid }) => !out.has(hex(mid)));
  const boxes = staying.map((member) => sealBox("key", mine, member, state.room, content));
  const signed = signControl(making, {
    type: "rekey_boxed",
    ...headerFields(making),
    epoch,
    key_commitment: commitment,
    boxes: staying.map(({ mid }, at) => [mid, sha256(boxes[at] as Uint8Array)] as const),
    removed,
    reason,
  });
  return { signed, boxes };
}

/** The kind of REKEY that is next: routine, or boxed where that is due. */
export const makeRekey = (making: Making, held: EpochKeys): Made =>
  boxedRequired(making.state) || isSpent(making) || !held.keys.has(making.state.epoch)
    ? makeBoxedRekey(making)
    : makeRoutineRekey(making, held);

/**
 * Whether I may not renew my key again before a boxed REKEY. An owner then makes one: were this key
 * lost once more, it could box for nobody.
 */
export function isSpent({ state, mine }: Pick<Making, "state" | "mine">): boolean {
  const member = state.members.get(hex(mine.mid));
  return member !== undefined && member.renewals >= KEY_RENEWALS;
}

/**
 * Whether an owner owes the room a new key, its log ending at `head`. `since` is when the epoch
 * began; `said` the last entry that is neither beat nor UPDATE_E: where nothing was said since, no
 * new key is due, unless nothing more can be (`stall_after`).
 */
export function rekeyDue(
  state: RoomState,
  { head, said, since, now }: { head: number; said: number; since: number; now: number },
): boolean {
  if (state.closed) return false;
  if (state.boxedDue) return true;
  const entries = head - state.epochSeq;
  const { stall_after, rotate_after, rotate_hours } = state.policy;
  const isStalled = stall_after > 0 && entries >= stall_after;
  if (!isStalled && said <= state.epochSeq) return false;
  return entries >= rotate_after || now - since >= rotate_hours * HOUR_MS;
}

/** KEY_REQ: I can not read the current epoch. Keep it: the answer names it. */
export const makeKeyRequest = (
  state: RoomState,
  mine: MemberKeys,
  now: number,
): Signed<RecordOf<"key_req">> =>
  signRecord(mine.sign.private, {
    type: "key_req",
    v: VERSION,
    room: state.room,
    mid: mine.mid,
    epoch: state.epoch,
    nonce: randomBytes(32),
    ts: now,
  });

/** An owner's answer to the KEY_REQ in `envelope`; throws `Refused`, `Malformed`, `KeyMissing`. */
export function makeKeyAnswer(
  state: RoomState,
  mine: MemberKeys,
  held: EpochKeys,
  envelope: Uint8Array,
): { record: Uint8Array; box: Uint8Array } {
  const asked = peek(envelope).record;
  if (asked.type !== "key_req" || !equal(asked.room, state.room)) throw new Refused("not_found");
  const member = memberOf(state, asked.mid);
  const request = openSigned(member.signKey, envelope);
  if (!isOwner(memberOf(state, mine.mid))) throw new Refused("forbidden");
  if (asked.epoch !== state.epoch) throw new Refused("epoch_stale");
  checkOwn(state, mine);
  const content = {
    epoch: state.epoch,
    key_commitment: state.keyCommitment,
    request_hash: hashOf(request),
    key: keyFor(held, state.epoch),
  };
  const box = sealBox("answer", mine, member, state.room, content);
  const answer = signRecord(mine.sign.private, {
    type: "key_ans",
    v: VERSION,
    room: state.room,
    mid: mine.mid,
    to: member.mid,
    epoch: state.epoch,
    request_hash: content.request_hash,
    box_hash: sha256(box),
  });
  return { record: answer.envelope, box };
}

/** The keys with the current one, from the answer to my own `request`; throws `KeyRejected`. */
export function openKeyAnswer(
  state: RoomState,
  mine: MemberKeys,
  held: EpochKeys,
  request: Signed,
  answer: Uint8Array,
  boxed: Uint8Array,
): EpochKeys {
  const { record, owner } = verifiedAnswer(state, answer);
  const isMine = equal(record.to, mine.mid) && equal(record.request_hash, hashOf(request));
  if (!isMine) throw new KeyRejected("other_request");
  if (!equal(record.box_hash, sha256(boxed))) throw new KeyRejected("box_hash");
  try {
    const said = openBox("answer", mine, owner, state.room, boxed);
    if (!equal(said.request_hash, hashOf(request))) throw new KeyRejected("other_request");
    const fits = said.epoch === state.epoch && equal(said.key_commitment, state.keyCommitment);
    if (!fits) throw new KeyRejected("commitment");
    return adopt(held, state.epoch, said.key, state.keyCommitment);
  } catch (error) {
    if (error instanceof BoxRejected) throw new KeyRejected("cannot_open");
    throw error;
  }
}

function verifiedAnswer(
  state: RoomState,
  answer: Uint8Array,
): { record: RecordOf<"key_ans">; owner: Member } {
  try {
    const { record } = peek(answer);
    if (record.type !== "key_ans" || !equal(record.room, state.room)) {
      throw new KeyRejected("other_request");
    }
    const owner = memberOf(state, record.mid);
    openSigned(owner.signKey, answer);
    if (!isOwner(owner)) throw new KeyRejected("not_an_owner");
    return { record, owner };
  } catch (error) {
    if (error instanceof Malformed || error instanceof Refused) {
      throw new KeyRejected("not_an_owner");
    }
    throw error;
  }
}

/** Without the keys that are no longer needed: a key that is gone can not be stolen. */
export function forgetOldKeys(held: EpochKeys, storedEpoch: number, keep = 1): EpochKeys {
  const kept = [...held.keys].filter(([epoch]) => epoch >= storedEpoch - keep);
  return kept.length === held.keys.size ? held : { ...held, keys: new Map(kept) };
}
