/** UPDATE_E: a member's encryption key replaced (docs/protocol.md, Encryption keys). */

import { hex } from "../protocol/bytes.ts";
import type { RecordOf } from "../protocol/records.ts";
import { KEY_RENEWALS, type RoomState } from "../protocol/room.ts";
import type { Signed } from "../themis/index.ts";
import { headerFields, type Making, signControl } from "./controls.ts";

const DAY_MS = 24 * 3_600_000;
/** Members of a room in which each renews its key once a day; in larger ones less often. */
const RENEWED_AT_ONCE = 35;
const LONGEST_DAYS = 14;

/**
 * UPDATE_E: `enc_key` takes the place of my encryption key.
 *
 * Keep its private half before this is sent: from where it stands, boxes are made for it alone.
 */
export const makeKeyUpdate = (making: Making, enc_key: Uint8Array): Signed<RecordOf<"update_e">> =>
  signControl(making, { type: "update_e", ...headerFields(making), enc_key });

/**
 * When `mid` is to replace its encryption key, in milliseconds since 1970; undefined: not yet.
 *
 * Once the key has opened, or made, something that stays secret, and is a day old: in rooms of more
 * than 35 members older, up to two weeks, for the control log keeps every renewal for ever.
 */
export function nextRenewal(state: RoomState, mid: Uint8Array, now: number): number | undefined {
  const member = state.members.get(hex(mid));
  const size = state.members.size;
  if (member === undefined || size < 2 || member.boxedTs === 0) return undefined;
  if (member.renewals >= KEY_RENEWALS - 1) return undefined; // the last is for who lost the key
  const days = Math.min(Math.max(1, size / RENEWED_AT_ONCE), LONGEST_DAYS);
  // What a clock said that was ahead counts as long ago, or it would put this off for ever.
  const past = (ts: number) => (ts <= now ? ts : 0);
  return Math.max(past(member.renewedTs) + Math.trunc(days * DAY_MS), past(member.boxedTs));
}
