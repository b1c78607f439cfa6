/**
 * Numbers that two people compare: equal exactly if both see the same keys.
 *
 * Of the keys members came with: those that replaced them since are signed by what is compared.
 */

import { concat, hex } from "../protocol/bytes.ts";
import { taggedHash } from "../protocol/ids.ts";
import type { Member, RoomState } from "../protocol/room.ts";

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
