/**
 * Joining, the admitter's half (docs/protocol.md, Joining; ofcd/e2e/joining.py).
 *
 * JOIN_REQ -> `answerRequest`, which makes JOIN_RESP; JOIN_CONFIRM -> `checkConfirm`, `makeAdmit`.
 */

import { equal, hex } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { inviteProof, memberIdOf } from "../protocol/ids.ts";
import { dumpJson, parseJson } from "../protocol/json.ts";
import * as limits from "../protocol/limits.ts";
import { type RecordOf, type SignedRecord, VERSION } from "../protocol/records.ts";
import { type Invite, mayAdmit, Refused, type RoomState } from "../protocol/room.ts";
import * as is from "../protocol/schema.ts";
import {
  CannotOpen,
  checkKeys,
  hashOf,
  isOf,
  openSigned,
  peek,
  type Signed,
  seal,
  signRecord,
  unseal,
} from "../themis/index.ts";
import { type BoxContent, BoxRejected, openBox } from "./boxes.ts";
import { confirmContext, joinContext, proofContext, proofPlaintext } from "./contexts.ts";
import { headerFields, type Making, signControl } from "./controls.ts";
import { type EpochKeys, keyFor } from "./epochs.ts";
import { JoinRejected, transcriptFields, welcomeFields } from "./joining.ts";
import type { Seen } from "./log.ts";
import { displayName } from "./names.ts";

const NAMES_BYTES = 6 * limits.KIB;
/** A joiner who was answered and not admitted for so long is shut out. */
export const ABANDONED_MS = 24 * 3_600_000;

/** What was answered: kept before it is sent, so that the same request gets the same bytes. */
export interface Answered {
  readonly request: Uint8Array;
  readonly response: Uint8Array;
  readonly epoch: number;
  readonly answeredAt: number;
}

/** What an admitter tells a newcomer of the room. */
export interface Telling {
  /** Names by member in hex. */
  readonly names: ReadonlyMap<string, string>;
  readonly roomName: string;
}

/**
 * The answer to the JOIN_REQ in `envelope`. Throws `JoinRejected`, having sealed nothing, and
 * `KeyMissing` without the room key.
 */
export function answerRequest(
  making: Making,
  held: EpochKeys,
  envelope: Uint8Array,
  token: Uint8Array,
  telling: Telling,
  earlier?: Answered,
): Answered {
  const { state, mine, seen, now } = making;
  const { signed, content } = checkRequest(making, envelope, token);
  if (earlier !== undefined && !equal(hashOf(peek(earlier.request)), hashOf(signed))) {
    throw new JoinRejected("invite_used");
  }
  if (earlier?.epoch === state.epoch) return earlier;
  const { record: request } = signed;
  const welcome = welcomeOf(state, held, seen, telling);
  const context = joinContext(state.room, request.invite_id, token, hashOf(signed));
  const response = signRecord(mine.sign.private, {
    type: "join_resp",
    v: VERSION,
    room: state.room,
    invite_id: request.invite_id,
    request_hash: hashOf(signed),
    mid: mine.mid,
    to: memberIdOf(request.sign_key),
    cell: seal(content.key, dumpJson(is.writeFields(welcomeFields, welcome)), context),
  });
  return { request: envelope, response: response.envelope, epoch: state.epoch, answeredAt: now };
}

const welcomeOf = (state: RoomState, held: EpochKeys, seen: Seen, telling: Telling) => ({
  key: keyFor(held, state.epoch),
  epoch: state.epoch,
  key_commitment: state.keyCommitment,
  ctl: state.ctl,
  seq: seen.seq,
  log: seen.log,
  names: namesThatFit(state, telling.names),
  room_name: displayName(telling.roomName),
});

function namesThatFit(state: RoomState, names: ReadonlyMap<string, string>) {
  const told: (readonly [Uint8Array, string])[] = [];
  let size = 0;
  for (const { mid } of state.members.values()) {
    const name = displayName(names.get(hex(mid)) ?? "");
    size += dumpJson({ [hex(mid)]: name }).length;
    if (name !== "" && size <= NAMES_BYTES) told.push([mid, name]);
  }
  return told;
}

type Request = Signed<RecordOf<"join_req">>;

function checkRequest(
  { state, mine, now }: Making,
  envelope: Uint8Array,
  token: Uint8Array,
): { signed: Request; content: BoxContent<"join"> } {
  const { record: request } = claimed(envelope, "join_req");
  if (!equal(request.room, state.room)) throw new JoinRejected("wrong_room");
  const invite = inviteOf(state, request.invite_id);
  if (invite.expires <= now) throw new JoinRejected("invite_expired");
  const me = state.members.get(hex(mine.mid));
  const mayAnswer = me !== undefined && mayAdmit(me);
  if (!mayAnswer || !invite.admitters.some((mid) => equal(mid, mine.mid))) {
    throw new JoinRejected("not_an_admitter");
  }
  if (!equal(request.proof, inviteProof(token))) throw new JoinRejected("bad_proof");
  try {
    checkKeys(request.sign_key, request.enc_key);
  } catch (error) {
    if (error instanceof Malformed) throw new JoinRejected("bad_key");
    throw error;
  }
  const signed = verified(request.sign_key, envelope) as Request;
  const id = hex(memberIdOf(request.sign_key));
  if (state.members.has(id) || state.departed.has(id)) throw new JoinRejected("already_member");
  return { signed, content: openRequest(state, { mine, request, token }) };
}

function inviteOf(state: RoomState, id: Uint8Array): Invite {
  const invite = state.invites.get(hex(id));
  if (invite === undefined) throw new JoinRejected("invite_unknown");
  return invite;
}

/** The joiner's box: opening it with E_j proves that the joiner can use E_j. */
function openRequest(
  state: RoomState,
  {
    mine,
    request,
    token,
  }: { mine: Making["mine"]; request: RecordOf<"join_req">; token: Uint8Array },
): BoxContent<"join"> {
  const boxed = request.boxes.find(([mid]) => equal(mid, mine.mid))?.[1];
  if (boxed === undefined) throw new JoinRejected("bad_box");
  const joiner = { mid: memberIdOf(request.sign_key), encKey: request.enc_key };
  const { room, invite_id, sign_key, enc_key, nonce } = request;
  try {
    const content = openBox("join", mine, joiner, room, boxed);
    const isThis = equal(content.invite_id, invite_id) && equal(content.nonce, nonce);
    if (!isThis) throw new JoinRejected("bad_box");
    const shown = unseal(token, content.proof, proofContext(state.room, invite_id));
    if (!equal(shown, proofPlaintext(room, invite_id, sign_key, enc_key, nonce))) {
      throw new JoinRejected("bad_proof");
    }
    return content;
  } catch (error) {
    if (error instanceof BoxRejected) throw new JoinRejected("bad_box");
    if (error instanceof CannotOpen) throw new JoinRejected("bad_proof");
    throw error;
  }
}

/**
 * The JOIN_CONFIRM in `envelope`: the joiner holds the room key and saw the same transcript. With
 * "epoch_moved", answer the request again instead of admitting.
 */
export function checkConfirm(
  state: RoomState,
  held: EpochKeys,
  answered: Answered,
  envelope: Uint8Array,
): Signed<RecordOf<"join_conf">> {
  const request = claimed(answered.request, "join_req");
  const response = peek(answered.response);
  const { record: confirm } = claimed(envelope, "join_conf");
  const { sign_key, invite_id } = request.record;
  const mid = memberIdOf(sign_key);
  const answersMine =
    equal(confirm.room, state.room) &&
    equal(confirm.invite_id, invite_id) &&
    equal(confirm.mid, mid) &&
    equal(confirm.request_hash, hashOf(request)) &&
    equal(confirm.response_hash, hashOf(response));
  if (!answersMine) throw new JoinRejected("wrong_transcript");
  const signed = verified(sign_key, envelope) as Signed<RecordOf<"join_conf">>;
  if (confirm.epoch !== answered.epoch || answered.epoch !== state.epoch) {
    throw new JoinRejected("epoch_moved");
  }
  const context = confirmContext(state.room, mid, confirm.epoch);
  const said = openTranscript(keyFor(held, confirm.epoch), confirm.cell, context);
  const same =
    equal(said.request_hash, hashOf(request)) && equal(said.response_hash, hashOf(response));
  if (!same) throw new JoinRejected("wrong_transcript");
  return signed;
}

function openTranscript(key: Uint8Array, cell: Uint8Array, context: Uint8Array) {
  try {
    return is.readFields(
      transcriptFields,
      parseJson(unseal(key, cell, context), limits.RECORD_BYTES),
    );
  } catch (error) {
    if (error instanceof CannotOpen || error instanceof Malformed) {
      throw new JoinRejected("bad_cell");
    }
    throw error;
  }
}

/** ADMIT for the joiner whose `confirm` was checked; throws `Refused` if it is not allowed. */
export function makeAdmit(
  making: Making,
  answered: Answered,
  confirm: Signed<RecordOf<"join_conf">>,
): Signed<RecordOf<"admit">> {
  const { state, seen } = making;
  const { record: request } = claimed(answered.request, "join_req");
  const invite = inviteOf(state, request.invite_id);
  const joinsOnly = invite.history === "join" || state.policy.history === "join";
  return signControl(making, {
    type: "admit",
    ...headerFields(making),
    invite_id: request.invite_id,
    sign_key: request.sign_key,
    enc_key: request.enc_key,
    role: invite.role as Exclude<Invite["role"], "root">,
    caps: [...invite.caps].sort(),
    confirm_hash: hashOf(confirm),
    epoch: answered.epoch,
    history_from: Math.max(state.epochSeq, joinsOnly ? seen.seq : 0) + 1,
    home: request.home,
  });
}

function claimed<T extends SignedRecord["type"]>(
  envelope: Uint8Array,
  type: T,
): Signed<RecordOf<T>> {
  try {
    const found = peek(envelope);
    if (isOf(found, type)) return found;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
  }
  throw new JoinRejected("malformed");
}

function verified(key: Uint8Array, envelope: Uint8Array): Signed {
  try {
    return openSigned(key, envelope);
  } catch (error) {
    if (error instanceof Refused) throw new JoinRejected("bad_signature");
    throw error;
  }
}
