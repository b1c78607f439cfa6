/**
 * Records that a member signs about itself and its room (docs/protocol.md, Control records).
 *
 * Each maker signs for the current control head: a lost race comes back as `conflict`, and the
 * record is made again. Every maker throws `Refused` for what the room's state does not allow.
 */

import { type ControlRecord, type RecordOf, type Role, VERSION } from "../protocol/records.ts";
import { apply, type RoomState } from "../protocol/room.ts";
import { checkHandover, eventId, type Signed, signRecord } from "../themis/index.ts";
import type { MemberKeys } from "./keys.ts";
import type { Seen } from "./log.ts";

/** For whom and when a control record is made: the room, one's keys, the log as seen, the time. */
export interface Making {
  readonly state: RoomState;
  readonly mine: MemberKeys;
  readonly seen: Seen;
  readonly now: number;
}

/** The fields every control record but GENESIS begins with. */
export const headerFields = ({ state, mine, seen, now }: Making) => ({
  v: VERSION,
  room: state.room,
  mid: mine.mid,
  prev: state.ctl,
  seen,
  ts: now,
});

/** `record`, signed, once the state has been seen to allow it; throws `Refused`. */
export function signControl<R extends ControlRecord>(making: Making, record: R): Signed<R> {
  const { state, mine, seen } = making;
  const signed = signRecord(mine.sign.private, record);
  apply(state, record, eventId(signed), Math.max(state.seq, seen.seq) + 1);
  return signed;
}

/** LEAVE: my own departure; an owner must hand out a new key next. */
export const makeLeave = (making: Making): Signed<RecordOf<"leave">> =>
  signControl(making, { type: "leave", ...headerFields(making) });

/** GRANT or REVOKE: sets the role and all the capabilities of `member`. */
export const makeGrant = (
  making: Making,
  member: Uint8Array,
  role: Exclude<Role, "root">,
  caps: Iterable<string> = [],
): Signed<RecordOf<"grant">> => {
  const sorted = [...caps].sort();
  return signControl(making, {
    type: "grant",
    ...headerFields(making),
    member,
    role,
    caps: sorted,
  });
};

/**
 * INVITE_CLOSE: nobody can join by this invite any more. `answered`: I gave someone the room key
 * under it, so an owner must make a boxed REKEY next.
 */
export const makeInviteClose = (
  making: Making,
  invite_id: Uint8Array,
  answered: boolean,
): Signed<RecordOf<"invite_close">> =>
  signControl(making, { type: "invite_close", ...headerFields(making), invite_id, answered });

/** HANDOVER_ACCEPT: I am ready to be root; sent to root inside a sealed message. */
export const acceptHandover = ({ state, mine, now }: Making): Signed<RecordOf<"handover_accept">> =>
  signRecord(mine.sign.private, {
    type: "handover_accept",
    v: VERSION,
    room: state.room,
    root: state.root,
    mid: mine.mid,
    ctl: state.heads.at(-1) ?? state.ctl,
    ts: now,
  });

/** HANDOVER: `to`, whose signed acceptance is nested, becomes root; a boxed REKEY comes next. */
export function makeHandover(
  making: Making,
  to: Uint8Array,
  accept: Uint8Array,
): Signed<RecordOf<"handover">> {
  const record = { type: "handover" as const, ...headerFields(making), to, accept };
  checkHandover(making.state, record);
  return signControl(making, record);
}

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
