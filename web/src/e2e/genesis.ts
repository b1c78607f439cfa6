/** GENESIS: founding a room (docs/protocol.md, Founding). */

import { keyCommitment } from "../protocol/ids.ts";
import { type RecordOf, VERSION } from "../protocol/records.ts";
import { found } from "../protocol/room.ts";
import { generateKey, randomBytes, type Signed, signRecord } from "../themis/index.ts";
import { adopt } from "./epochs.ts";
import type { MemberKeys } from "./keys.ts";
import { foundedLog } from "./log.ts";
import type { View } from "./view.ts";

export type Policy = RecordOf<"genesis">["policy"];

/** What stands in a room's policy unless its founder says otherwise; ofcd/protocol/records.py. */
export const POLICY: Policy = {
  rotate_after: 100,
  rotate_hours: 24,
  boxed_every: 10,
  history: "rotation",
  join_rekey: false,
  max_members: 500,
  stall_after: 0,
  beat_minutes: 10,
  local_only: false,
};

/** A new room, before any relay has heard of it. */
export interface Founding {
  readonly signed: Signed<RecordOf<"genesis">>;
  readonly view: View;
}

/**
 * Found a room with `mine` as root, at the relay `relayId`. Its id is a hash of what is signed here,
 * so sending it again founds nothing new.
 */
export function makeGenesis(
  mine: MemberKeys,
  relayId: Uint8Array,
  now: number,
  policy: Policy = POLICY,
): Founding {
  const [nonce, key] = [randomBytes(32), generateKey()];
  const commitment = keyCommitment(nonce, 0, key);
  const signed = signRecord(mine.sign.private, {
    type: "genesis" as const,
    v: VERSION,
    nonce,
    sign_key: mine.sign.public,
    enc_key: mine.encrypt.public,
    relay_id: relayId,
    policy,
    key_commitment: commitment,
    ts: now,
    recovery_key: undefined,
    predecessor: undefined,
  });
  const state = found(signed.record, signed.payload);
  const keys = adopt({ nonce, keys: new Map() }, 0, key, commitment);
  const log = foundedLog(state.room);
  return { signed, view: { mine, state, keys, log, senders: new Map() } };
}
