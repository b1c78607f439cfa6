/**
 * Joining, the joiner's half (docs/protocol.md, Joining).
 *
 * `makeRequest` -> JOIN_REQ; JOIN_RESP -> `checkResponse`, which makes JOIN_CONFIRM; once ADMIT is
 * in the control log, `checkAdmitted`.
 */

import { equal, hex, utf8 } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { inviteCommitment } from "../protocol/ids.ts";
import { dumpJson, parseJson } from "../protocol/json.ts";
import * as limits from "../protocol/limits.ts";
import { type RecordOf, VERSION } from "../protocol/records.ts";
import {
  hasRenewed,
  hubOf,
  isRefusal,
  type Member,
  mayAdmit,
  Refused,
  type RoomState,
} from "../protocol/room.ts";
import * as is from "../protocol/schema.ts";
import {
  CannotOpen,
  generateKey,
  hashOf,
  isOf,
  openSigned,
  peek,
  type Signed,
  seal,
  signRecord,
  unseal,
} from "../themis/index.ts";
import { sealBox } from "./boxes.ts";
import { type Standing, verifyChain } from "./chain.ts";
import { confirmContext, joinContext, proofContext, proofPlaintext } from "./contexts.ts";
import { adopt, type EpochKeys, KeyRejected } from "./epochs.ts";
import { type InviteCode, proofOf } from "./invites.ts";
import { type MemberKeys, newMemberKeys } from "./keys.ts";
import { displayName } from "./names.ts";

const NAME_STEP = 64;

export type JoinFault =
  | "malformed"
  | "wrong_room"
  | "invite_unknown"
  | "invite_expired"
  | "not_an_admitter"
  | "bad_signature"
  | "bad_key"
  | "bad_chain"
  | "bad_cell"
  | "wrong_transcript"
  | "bad_proof"
  | "bad_box"
  | "already_member"
  | "invite_used"
  | "epoch_moved";

const SENTENCES: Record<JoinFault, string> = {
  malformed: "the join message is not well-formed",
  wrong_room: "the join message belongs to another room or relay",
  invite_unknown: "the invite is unknown or closed; ask for a new one",
  invite_expired: "the invite has expired; ask for a new one",
  not_an_admitter: "the join was answered by someone who may not answer this invite",
  bad_signature: "the join message was not signed by the one it names",
  bad_key: "the room lists another key beside your name than yours",
  bad_chain: "the room's control log does not bear out what the join message says",
  bad_cell: "the sealed part of the join message does not open or is not well-formed",
  wrong_transcript: "the join message answers another message",
  bad_proof: "the joiner does not show that it holds the invite's link",
  bad_box: "the joiner's sealed part does not open or does not fit",
  already_member: "whoever asks is, or was, in the room under these keys",
  invite_used: "two people used the same invite link: make a new one for each",
  epoch_moved: "the room key was renewed meanwhile",
};

export class JoinRejected extends Error {
  override readonly name = "JoinRejected";

  constructor(readonly fault: JoinFault) {
    super(SENTENCES[fault]);
  }
}

/** A joiner's secrets until it is admitted: kept, so that a reload goes on with the join. */
export interface Joining {
  readonly code: InviteCode;
  readonly keys: MemberKeys;
  /** J: 32 bytes, the key of JOIN_RESP's cell. */
  readonly joinKey: Uint8Array;
  readonly request: Signed<RecordOf<"join_req">>;
}

/** The sealed part of JOIN_RESP. */
export const welcomeFields = {
  key: is.bytes(32),
  epoch: is.int(),
  key_commitment: is.b32,
  ctl: is.b32,
  seq: is.int(),
  log: is.b32,
  names: is.optional(is.list(is.pair(is.b32, is.text())), []),
  room_name: is.optional(is.text(), ""),
} satisfies is.Fields;
export type JoinWelcome = is.Infer<typeof welcomeFields>;

/** The sealed part of JOIN_CONFIRM. */
export const transcriptFields = { request_hash: is.b32, response_hash: is.b32 } satisfies is.Fields;

/** What JOIN_RESP brought, checked; I am a member once ADMIT is in the control log. */
export interface Joined {
  readonly keys: EpochKeys;
  /** The room at the control head that the admitter named. */
  readonly state: RoomState;
  readonly welcome: JoinWelcome;
  /** JOIN_CONFIRM, to send; keep it: send the same one again, not a new one. */
  readonly confirm: Signed<RecordOf<"join_conf">>;
}

/** JOIN_REQ; `state` is the room's by the control log that the relay showed. */
export function makeRequest(
  code: InviteCode,
  state: RoomState,
  {
    home,
    now,
    name = "",
    keys = newMemberKeys(),
  }: {
    home: Uint8Array;
    now: number;
    name?: string;
    keys?: MemberKeys;
  },
): Joining {
  const { admitters } = inviteOf(code, state, now);
  const [joinKey, nonce] = [generateKey(), generateKey()];
  const content = {
    invite_id: code.inviteId,
    key: joinKey,
    nonce,
    proof: prove(code, keys, nonce),
    name: padded(name),
  };
  const boxes = admitters.flatMap((mid) => {
    const admitter = state.members.get(hex(mid));
    if (admitter === undefined) return [];
    return [[mid, sealBox("join", keys, admitter, state.room, content)] as const];
  });
  const request = signRecord(keys.sign.private, {
    type: "join_req",
    v: VERSION,
    room: code.room,
    invite_id: code.inviteId,
    proof: proofOf(code),
    sign_key: keys.sign.public,
    enc_key: keys.encrypt.public,
    nonce,
    home,
    boxes,
  });
  return { code, keys, joinKey, request };
}

function inviteOf(code: InviteCode, state: RoomState, now: number) {
  if (!equal(state.room, code.room) || !equal(hubOf(state), code.relayId)) {
    throw new JoinRejected("wrong_room");
  }
  const invite = state.invites.get(hex(code.inviteId));
  if (invite === undefined) throw new JoinRejected("invite_unknown");
  if (invite.expires <= now) throw new JoinRejected("invite_expired");
  const commit = inviteCommitment(code.room, code.inviteId, proofOf(code));
  if (!equal(invite.commit, commit) || !equal(invite.inviter, code.inviter)) {
    throw new JoinRejected("bad_chain");
  }
  return invite;
}

function prove(code: InviteCode, keys: MemberKeys, nonce: Uint8Array): Uint8Array {
  const [sign, encrypt] = [keys.sign.public, keys.encrypt.public];
  const shown = proofPlaintext(code.room, code.inviteId, sign, encrypt, nonce);
  return seal(code.token, shown, proofContext(code.room, code.inviteId));
}

/** A name whose length the box does not tell. */
function padded(name: string): string {
  const shown = displayName(name);
  const size = utf8(shown).length;
  return shown + " ".repeat((NAME_STEP - (size % NAME_STEP)) % NAME_STEP);
}

/** What the JOIN_RESP in `envelope` brings; `chain` is the control log from GENESIS on. */
export function checkResponse(
  joining: Joining,
  chain: Iterable<Standing>,
  envelope: Uint8Array,
): Joined {
  const { code, keys: mine, request } = joining;
  const response = claimed(envelope);
  const answersMe =
    equal(response.room, code.room) &&
    equal(response.invite_id, code.inviteId) &&
    equal(response.request_hash, hashOf(request)) &&
    equal(response.to, mine.mid);
  if (!answersMe) throw new JoinRejected("wrong_transcript");
  const welcome = openWelcome(joining, response);
  const state = stateAt(code, chain, welcome.ctl);
  const signed = verified(admitterOf(state, code, response.mid), envelope);
  const keys = adopted(state, welcome);
  return { keys, state, welcome, confirm: makeConfirm(joining, signed, welcome) };
}

function claimed(envelope: Uint8Array): RecordOf<"join_resp"> {
  try {
    const found = peek(envelope);
    if (isOf(found, "join_resp")) return found.record;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
  }
  throw new JoinRejected("malformed");
}

function openWelcome(joining: Joining, response: RecordOf<"join_resp">): JoinWelcome {
  const { code, joinKey, request } = joining;
  const context = joinContext(code.room, code.inviteId, code.token, hashOf(request));
  try {
    const raw = unseal(joinKey, response.cell, context);
    return is.readFields(welcomeFields, parseJson(raw, limits.RECORD_BYTES));
  } catch (error) {
    if (error instanceof CannotOpen || error instanceof Malformed) {
      throw new JoinRejected("bad_cell");
    }
    throw error;
  }
}

function stateAt(code: InviteCode, chain: Iterable<Standing>, ctl: Uint8Array): RoomState {
  let state: RoomState;
  try {
    state = verifyChain(code.room, chain, { until: ctl });
  } catch (error) {
    if (isRefusal(error)) throw new JoinRejected("bad_chain");
    throw error;
  }
  if (!equal(hubOf(state), code.relayId)) throw new JoinRejected("wrong_room");
  return state;
}

function admitterOf(state: RoomState, code: InviteCode, mid: Uint8Array): Member {
  const invite = state.invites.get(hex(code.inviteId));
  if (invite === undefined) throw new JoinRejected("invite_unknown");
  const admitter = state.members.get(hex(mid));
  const may = admitter !== undefined && mayAdmit(admitter);
  if (!may || !invite.admitters.some((one) => equal(one, mid))) {
    throw new JoinRejected("not_an_admitter");
  }
  return admitter;
}

function verified(admitter: Member, envelope: Uint8Array): Signed {
  try {
    return openSigned(admitter.signKey, envelope);
  } catch (error) {
    if (error instanceof Refused) throw new JoinRejected("bad_signature");
    throw error;
  }
}

function adopted(state: RoomState, welcome: JoinWelcome): EpochKeys {
  const isTheLogs =
    welcome.epoch === state.epoch &&
    equal(welcome.key_commitment, state.keyCommitment) &&
    welcome.seq >= state.seq;
  if (!isTheLogs) throw new JoinRejected("bad_chain");
  try {
    const none: EpochKeys = { nonce: state.nonce, keys: new Map() };
    return adopt(none, state.epoch, welcome.key, state.keyCommitment);
  } catch (error) {
    if (error instanceof KeyRejected) throw new JoinRejected("bad_chain");
    throw error;
  }
}

function makeConfirm(
  { code, keys, request }: Joining,
  response: Signed,
  welcome: JoinWelcome,
): Signed<RecordOf<"join_conf">> {
  const hashes = { request_hash: hashOf(request), response_hash: hashOf(response) };
  const transcript = is.writeFields(transcriptFields, hashes);
  const context = confirmContext(code.room, keys.mid, welcome.epoch);
  return signRecord(keys.sign.private, {
    type: "join_conf",
    v: VERSION,
    room: code.room,
    invite_id: code.inviteId,
    ...hashes,
    mid: keys.mid,
    epoch: welcome.epoch,
    cell: seal(welcome.key, dumpJson(transcript), context),
  });
}

/**
 * Me as the control log has me; an admitter that put another key there would read my boxes. One
 * that UPDATE_E has set since bears my own signature.
 */
export function checkAdmitted(state: RoomState, mine: MemberKeys): Member {
  const member = state.members.get(hex(mine.mid));
  if (member === undefined) throw new JoinRejected("bad_chain");
  if (!hasRenewed(member) && !equal(member.encKey, mine.encrypt.public))
    throw new JoinRejected("bad_key");
  return member;
}
