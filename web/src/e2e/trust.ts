/**
 * Trust: numbers that two people compare, equal exactly if both see the same keys, and whose word
 * counts of a hub.
 *
 * Of the keys members came with: those that replaced them since are signed by what is compared.
 */

import { concat, equal, hex } from "../protocol/bytes.ts";
import { taggedHash } from "../protocol/ids.ts";
import type { RecordOf } from "../protocol/records.ts";
import { hubAt, isRefusal, type Member, type RoomState } from "../protocol/room.ts";
import { type Lineage, type LineageOf, lineage, openedBy, peek } from "../themis/index.ts";
import { LogBroken } from "./log.ts";

const GROUPS = 12;
const SHORT_GROUPS = 4;
const GROUP_BYTES = 5;
const FINGERPRINT_BYTES = 20;

/** 60 digits, in twelve groups: the keys both came with, in this room. */
export function safetyNumber(state: RoomState, one: Member, other: Member): string {
  const inOrder = [one, other].sort((a, b) => (hex(a.mid) < hex(b.mid) ? -1 : 1));
  const keys = inOrder.flatMap((member) => [member.signKey, member.firstEncKey]);
  return digits("sn-pair", [state.room, ...keys]);
}

/** The first 20 digits of `safetyNumber`: about 66 bits, to read out loud. */
export const shortCode = (state: RoomState, one: Member, other: Member): string =>
  safetyNumber(state, one, other).split(" ").slice(0, SHORT_GROUPS).join(" ");

/** 60 digits of the whole control log: equal for all who see the same members and keys. */
export const roomSafetyNumber = (state: RoomState): string => digits("sn", [state.room, state.ctl]);

/** 40 hex digits, in groups of four, of the two public keys a member came with. */
export const fingerprint = (member: Member): string =>
  grouped(taggedHash("fp", member.signKey, member.firstEncKey));

/** 40 hex digits, in groups of four, of a relay's id. */
export const relayFingerprint = (relayId: Uint8Array): string => grouped(relayId);

function digits(tag: string, fields: readonly Uint8Array[]): string {
  const raw = concat(...[0, 1].map((round) => taggedHash(tag, round, ...fields)));
  return Array.from({ length: GROUPS }, (_, index) => {
    const chunk = raw.subarray(index * GROUP_BYTES, (index + 1) * GROUP_BYTES);
    const number = chunk.reduce((sum, byte) => sum * 256 + byte, 0);
    return String(number % 100_000).padStart(5, "0");
  }).join(" ");
}

const grouped = (raw: Uint8Array): string =>
  (hex(raw.subarray(0, FINGERPRINT_BYTES)).match(/.{4}/g) ?? []).join(" ");

/**
 * The LOG_HEAD in `envelope`, if it is by the relay that the room names for that entry, in its term: a
 * hub of before has nothing to say of what came after it. `key` is the one it is said to be by; `known`
 * tells of a relay's keys: those that it has replaced count as the one it has. Throws `Malformed`.
 */
export function headOfHub(
  state: RoomState,
  key: Uint8Array,
  envelope: Uint8Array,
  known: LineageOf = lineage,
): RecordOf<"log_head"> | undefined {
  const head = peek(envelope).record;
  if (head.type !== "log_head" || !equal(head.room, state.room)) return undefined;
  const { relayId, term } = hubAt(state, head.seq);
  const isHubs = head.term === term && isSignedBy(known(relayId), key, envelope);
  return isHubs ? head : undefined;
}

/** A LOG_HEAD whose signature was verified, and the envelope to keep as evidence. */
export interface SignedHead {
  readonly head: RecordOf<"log_head">;
  readonly envelope: Uint8Array;
}

/** Throws `LogBroken` (equivocation), both words as evidence, if the hub said two things. */
export function checkAgreement(one: SignedHead, other: SignedHead): void {
  const [a, b] = [one.head, other.head];
  if (a.term === b.term && a.seq === b.seq && equal(a.room, b.room) && !equal(a.log, b.log)) {
    throw new LogBroken("equivocation", a.seq, [one.envelope, other.envelope]);
  }
}

function isSignedBy(relay: Lineage, key: Uint8Array, envelope: Uint8Array): boolean {
  try {
    openedBy(relay, key, envelope);
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return false;
  }
}
