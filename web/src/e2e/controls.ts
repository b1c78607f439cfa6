/** Records that a member signs about itself and its room. */

import { type RecordOf, VERSION } from "../protocol/records.ts";
import { type Signed, signRecord } from "../themis/index.ts";
import type { MemberKeys } from "./keys.ts";

/** ATTACH: proves, on the link that `challenge` came on, that I hold this member's keys. */
export const makeAttach = (
  room: Uint8Array,
  mine: MemberKeys,
  link: {
    readonly transportKey: Uint8Array;
    readonly relayId: Uint8Array;
    readonly challenge: Uint8Array;
  },
): Signed<RecordOf<"attach">> =>
  signRecord(mine.sign.private, {
    type: "attach",
    v: VERSION,
    room,
    mid: mine.mid,
    transport_key: link.transportKey,
    relay_id: link.relayId,
    challenge: link.challenge,
    ts: Date.now(),
  });
