/**
 * The state of a room as its control log defines it (docs/protocol.md, Members and rights).
 *
 * `found` and `apply` are the one table of who may do what, the same as ofcd/protocol/room.py: given
 * the same verified records, relay and clients reach the same state, or refuse with the same code.
 * The caller has verified the record's signature under `keyOf(state, record)`.
 */

import { equal, hex } from "./bytes.ts";
import { type Code, Malformed } from "./codes.ts";
import { eventIdOf, memberIdOf, roomIdOf } from "./ids.ts";
import type { ControlRecord, History, RecordOf, Role } from "./records.ts";

type Bytes = Uint8Array;

/** A well-formed record that the state does not allow. */
export class Refused extends Error {
  override readonly name = "Refused";

  constructor(
    readonly code: Code,
    sentence = code.replaceAll("_", " "),
  ) {
    super(sentence);
  }
}

export const OPEN_INVITES = 50;
/** Control records after which an acceptance of a handover is too old. */
const HANDOVER_RECORDS = 64;
/** HOMEs of one member in one epoch. */
const HOMES_PER_EPOCH = 4;
/** HUB_MOVEs in one epoch. */
const HUB_MOVES_PER_EPOCH = 4;
/**
 * UPDATE_Es of one member between two boxed REKEYs. Of an owner one more: without a key of its own it
 * could not make the boxed rotation.
 */
export const KEY_RENEWALS = 3;

export interface Member {
  readonly mid: Bytes;
  readonly signKey: Bytes;
  readonly encKey: Bytes;
  readonly role: Role;
  readonly caps: ReadonlySet<string>;
  /** First seq this member may read. */
  readonly historyFrom: number;
  readonly joinedSeq: number;
  readonly home: Bytes;
  /** The one it came with, that another member vouched for; every later one is its own word. */
  readonly firstEncKey: Bytes;
  /** When `encKey` was set, by the signer's clock. */
  readonly renewedTs: number;
  /** When something that stays secret was first boxed for or by it; 0: nothing was yet. */
  readonly boxedTs: number;
  /** UPDATE_Es since the last boxed REKEY. */
  readonly renewals: number;
}

/** `encKey` was set by the member's own signature, not by whoever admitted it. */
export const hasRenewed = ({ encKey, firstEncKey }: Member) => !equal(encKey, firstEncKey);
export const isOwner = (member: Member) => member.role === "root" || member.role === "co-owner";
export const mayAdmit = (member: Member) => isOwner(member) || member.caps.has("admit");
export const mayPost = (member: Member) => member.role !== "readonly";
export const mayAttach = (member: Member) => mayPost(member) && !member.caps.has("no-files");

export interface Invite {
  readonly inviteId: Bytes;
  readonly commit: Bytes;
  /** Milliseconds since 1970. */
  readonly expires: number;
  readonly admitters: readonly Bytes[];
  readonly role: Role;
  readonly caps: ReadonlySet<string>;
  readonly history: History;
  readonly inviter: Bytes;
}

export type Departure = "evicted" | "left";
type ByHex<T> = ReadonlyMap<string, T>;

/** One relay's time as the room's hub. */
export interface HubTerm {
  readonly term: number;
  readonly relayId: Bytes;
  /** The seq of the HUB_MOVE that began it; 0: GENESIS. */
  readonly since: number;
  /** Where HUB_MOVE says it is reached; GENESIS says nothing. */
  readonly urls: readonly string[];
  /** Whether the hub before had no part in it. */
  readonly forced: boolean;
  /** Of the HUB_MOVE; GENESIS has none here, nor what an earlier version's vault kept. */
  readonly eventId: Bytes;
}

/** Everything the control log says, after its record number `seq`. Maps go by id in hex. */
export interface RoomState {
  readonly room: Bytes;
  readonly nonce: Bytes;
  /** The relay that GENESIS names: the first hub. */
  readonly relayId: Bytes;
  readonly policy: RecordOf<"genesis">["policy"];
  readonly root: Bytes;
  readonly epoch: number;
  readonly keyCommitment: Bytes;
  /** Seq of the record that opened the current epoch (0: GENESIS). */
  readonly epochSeq: number;
  /** Head of the control log: the id of its last record. */
  readonly ctl: Bytes;
  readonly seq: number;
  readonly members: ByHex<Member>;
  readonly invites: ByHex<Invite>;
  readonly departed: ByHex<Departure>;
  /** For each bot, gone ones too: who signed the record over its keys that made it one. */
  readonly sponsors: ByHex<Bytes>;
  /** A boxed REKEY must come next: someone left, the room was handed over, or a key may be out. */
  readonly boxedDue: boolean;
  /** The control heads at which an heir may have accepted a handover: no HOMEs, no UPDATE_Es. */
  readonly heads: readonly Bytes[];
  /** The HOMEs of each member in the current epoch. */
  readonly moves: ByHex<number>;
  /** The hubs after the first one, in order. */
  readonly moved: readonly HubTerm[];
  readonly routineRekeys: number;
  readonly closed: boolean;
}

export const boxedRequired = (state: RoomState) =>
  state.boxedDue || state.routineRekeys + 1 >= state.policy.boxed_every;

/** The relay that orders the room now. */
export const hubOf = (state: RoomState): Bytes => state.moved.at(-1)?.relayId ?? state.relayId;

/** The number of the hub's time: one more with each move, or more where one was forced. */
export const termOf = ({ moved }: RoomState): number => moved.at(-1)?.term ?? 0;

/** Whose LOG_HEADs for entry `seq` count: the relay that had the room by then. */
export const hubAt = (state: RoomState, seq: number): HubTerm =>
  state.moved.findLast(({ since }) => since <= seq) ?? {
    term: 0,
    relayId: state.relayId,
    since: 0,
    urls: [],
    forced: false,
    eventId: new Uint8Array(),
  };

/** The current member `mid`; throws `Refused` (not_found) if there is none. */
export function memberOf(state: RoomState, mid: Bytes): Member {
  const found = state.members.get(hex(mid));
  if (found === undefined) throw new Refused("not_found");
  return found;
}

/** The key that must have signed `record`. */
export const keyOf = (
  state: RoomState,
  record: Exclude<ControlRecord, { type: "genesis" }>,
): Bytes => memberOf(state, record.mid).signKey;

/** The state that a verified GENESIS opens; `payload` is what was signed. */
export function found(genesis: RecordOf<"genesis">, payload: Bytes): RoomState {
  const root: Member = {
    mid: memberIdOf(genesis.sign_key),
    signKey: genesis.sign_key,
    encKey: genesis.enc_key,
    role: "root",
    caps: new Set(),
    historyFrom: 0,
    joinedSeq: 0,
    home: genesis.relay_id,
    firstEncKey: genesis.enc_key,
    renewedTs: genesis.ts,
    boxedTs: 0,
    renewals: 0,
  };
  return {
    room: roomIdOf(payload),
    nonce: genesis.nonce,
    relayId: genesis.relay_id,
    policy: genesis.policy,
    root: root.mid,
    epoch: 0,
    keyCommitment: genesis.key_commitment,
    epochSeq: 0,
    ctl: eventIdOf(payload),
    seq: 0,
    members: new Map([[hex(root.mid), root]]),
    invites: new Map(),
    departed: new Map(),
    sponsors: new Map(),
    boxedDue: false,
    heads: [eventIdOf(payload)],
    moves: new Map(),
    moved: [],
    routineRekeys: 0,
    closed: false,
  };
}

/** The state after `record`; throws `Refused` with the code a peer is told. */
export function apply(state: RoomState, record: ControlRecord, id: Bytes, seq: number): RoomState {
  if (record.type === "genesis" || !equal(record.room, state.room)) throw new Refused("not_found");
  if (state.closed) throw new Refused("room_closed");
  if (!equal(record.prev, state.ctl)) throw new Refused("conflict");
  const by = memberOf(state, record.mid);
  const heads = headsAfter(state, record, id);
  return { ...state, ...changes(state, record, by, seq, id), ctl: id, seq, heads };
}

/** Every member makes HOMEs and UPDATE_Es: counted, they could wear out an heir's acceptance. */
function headsAfter({ heads }: RoomState, { type }: ControlRecord, id: Bytes): readonly Bytes[] {
  if (type === "home" || type === "update_e") return heads;
  return [...(type === "handover" ? [] : heads), id].slice(-HANDOVER_RECORDS);
}

/** Throws `Refused` if what an heir signed at the control head `ctl` is too old to use. */
export function checkAccepted(state: RoomState, ctl: Bytes): void {
  if (!state.heads.some((head) => equal(head, ctl))) {
    throw new Refused("forbidden", "the heir's acceptance is too old: offer it again");
  }
}

type Changes = Partial<RoomState>;

function changes(
  state: RoomState,
  record: Exclude<ControlRecord, { type: "genesis" }>,
  by: Member,
  seq: number,
  id: Bytes,
): Changes {
  switch (record.type) {
    case "invite_open":
      return openInvite(state, record, by);
    case "invite_close":
      return closeInvite(state, record, by);
    case "admit":
      return admit(state, record, by, seq);
    case "rekey":
      return rekey(state, record, by, seq);
    case "rekey_boxed":
      return rekeyBoxed(state, record, by, seq);
    case "leave":
      return leave(state, by);
    case "grant":
      return grant(state, record, by);
    case "handover":
      return handover(state, record, by);
    case "home":
      return moveHome(state, record, by);
    case "update_e":
      return updateKey(state, record, by);
    case "hub_move":
      return moveHub(state, record, by, seq, id);
  }
}

/** Its signer is at home at another relay from now on. */
function moveHome(state: RoomState, { home }: RecordOf<"home">, by: Member): Changes {
  require(!equal(home, by.home));
  require(!state.policy.local_only || equal(home, hubOf(state)));
  const id = hex(by.mid);
  const moves = (state.moves.get(id) ?? 0) + 1;
  if (moves > HOMES_PER_EPOCH) throw new Refused("quota");
  return {
    members: withEntry(state.members, id, { ...by, home }),
    moves: withEntry(state.moves, id, moves),
  };
}

/** Another relay, which has the room up to here, orders it from now on. */
function moveHub(
  state: RoomState,
  record: RecordOf<"hub_move">,
  by: Member,
  seq: number,
  eventId: Bytes,
): Changes {
  const { hub: relayId, term, urls, force: forced, after } = record;
  require(by.role === "root" && !state.policy.local_only);
  require(!equal(relayId, hubOf(state)) && term > termOf(state));
  require(forced || term === termOf(state) + 1);
  const before = state.moved.at(-1);
  const isSilent = after === undefined && (!forced || before === undefined);
  const isLinked =
    after !== undefined &&
    before !== undefined &&
    (equal(after, before.eventId) || before.eventId.length === 0);
  require(isSilent || isLinked);
  // Who has the room's copy is whom a member is at home at: nobody else can go on with it.
  require([...state.members.values()].some(({ home }) => equal(home, relayId)));
  if (record.seen.seq !== seq - 1) throw new Refused("seen_stale");
  const lately = state.moved.filter(({ since }) => since > state.epochSeq);
  if (lately.length >= HUB_MOVES_PER_EPOCH) throw new Refused("quota");
  return {
    moved: [...state.moved, { term, relayId, since: seq, urls, forced, eventId }],
    // An invite names the hub; what was answered under it, and how far, stays there.
    invites: new Map(),
    // Behind a forced one all keys are new: nobody knows who had which of a void epoch.
    boxedDue: state.boxedDue || state.invites.size > 0 || forced,
  };
}

function openInvite(state: RoomState, record: RecordOf<"invite_open">, by: Member): Changes {
  const caps = new Set(record.caps);
  require(mayAdmit(by) && mayAssign(by, record.role, caps));
  require(record.admitters.every((mid) => mayAdmit(memberOf(state, mid))));
  // Whose bot it is, is who signs for its keys: nobody else may answer this invite.
  require(!caps.has("bot") || record.admitters.every((mid) => equal(mid, by.mid)));
  if (state.invites.size >= OPEN_INVITES) throw new Refused("quota");
  const id = hex(record.invite_id);
  if (state.invites.has(id)) throw new Refused("sid_conflict");
  const invite: Invite = {
    inviteId: record.invite_id,
    commit: record.commit,
    expires: record.expires,
    admitters: record.admitters,
    role: record.role,
    caps,
    history: record.history,
    inviter: by.mid,
  };
  return { invites: withEntry(state.invites, id, invite) };
}

function closeInvite(state: RoomState, record: RecordOf<"invite_close">, by: Member): Changes {
  const invite = inviteOf(state, record.invite_id);
  const answers = mayAdmit(by) && invite.admitters.some((mid) => equal(mid, by.mid));
  require(isOwner(by) || equal(invite.inviter, by.mid) || answers);
  return {
    invites: without(state.invites, hex(record.invite_id)),
    boxedDue: state.boxedDue || record.answered || mayBeAnswered(state, invite, by),
  };
}

/** Whether someone who can not make the boxed REKEY may have answered it, and not said so. */
function mayBeAnswered(state: RoomState, invite: Invite, closer: Member): boolean {
  const others = invite.admitters.filter((mid) => !equal(mid, closer.mid));
  return others.some((mid) => {
    const other = state.members.get(hex(mid));
    return other !== undefined && !isOwner(other);
  });
}

function admit(state: RoomState, record: RecordOf<"admit">, by: Member, seq: number): Changes {
  const invite = inviteOf(state, record.invite_id);
  const caps = new Set(record.caps);
  require(mayAdmit(by) && invite.admitters.some((mid) => equal(mid, by.mid)));
  require(record.role === invite.role && sameSet(caps, invite.caps));
  require(mayAssign(by, record.role, caps));
  const mid = memberIdOf(record.sign_key);
  const id = hex(mid);
  if (state.members.has(id) || state.departed.has(id)) throw new Refused("already_member");
  if (state.members.size >= state.policy.max_members) throw new Refused("room_full");
  if (record.epoch !== state.epoch) throw new Refused("epoch_stale");
  const floor = historyFloor(state, invite, record);
  require(floor <= record.history_from && record.history_from <= seq);
  require(!state.policy.local_only || equal(record.home, hubOf(state)));
  const newcomer: Member = {
    mid,
    signKey: record.sign_key,
    encKey: record.enc_key,
    role: record.role,
    caps,
    historyFrom: record.history_from,
    joinedSeq: seq,
    home: record.home,
    firstEncKey: record.enc_key,
    renewedTs: record.ts,
    boxedTs: Math.max(record.ts, 1),
    renewals: 0,
  };
  const admitted = withEntry(state.members, hex(by.mid), boxed(by, record.ts));
  return {
    members: withEntry(admitted, id, newcomer),
    invites: without(state.invites, hex(record.invite_id)),
    sponsors: sponsored(state.sponsors, newcomer, by),
  };
}

function rekey(state: RoomState, record: RecordOf<"rekey">, by: Member, seq: number): Changes {
  require(isOwner(by));
  if (boxedRequired(state)) throw new Refused("boxed_required");
  return { ...openEpoch(state, record, seq), routineRekeys: state.routineRekeys + 1 };
}

function rekeyBoxed(
  state: RoomState,
  record: RecordOf<"rekey_boxed">,
  by: Member,
  seq: number,
): Changes {
  require(isOwner(by));
  for (const mid of record.removed) require(mayEvict(by, memberOf(state, mid)));
  const removed = new Set(record.removed.map(hex));
  const staying = new Map(
    [...state.members]
      .filter(([id]) => !removed.has(id))
      .map(([id, member]) => [id, { ...boxed(member, record.ts), renewals: 0 }]),
  );
  const listed = new Set(record.boxes.map(([mid]) => hex(mid)));
  if (record.boxes.length !== staying.size || !sameSet(listed, new Set(staying.keys()))) {
    throw new Refused("box_list_mismatch");
  }
  const departed = new Map(state.departed);
  for (const id of removed) departed.set(id, "evicted");
  return {
    ...openEpoch(state, record, seq),
    members: staying,
    departed,
    invites: stillAnswerable(state.invites, staying),
    boxedDue: false,
    routineRekeys: 0,
  };
}

function leave(state: RoomState, by: Member): Changes {
  if (by.role === "root" && state.members.size > 1) throw new Refused("root_must_hand_over");
  const staying = without(state.members, hex(by.mid));
  return {
    members: staying,
    departed: withEntry(state.departed, hex(by.mid), "left" as const),
    invites: stillAnswerable(state.invites, staying),
    boxedDue: true,
    closed: staying.size === 0,
  };
}

function grant(state: RoomState, record: RecordOf<"grant">, by: Member): Changes {
  const target = memberOf(state, record.member);
  const caps = new Set(record.caps);
  require(isOwner(by) && !equal(target.mid, by.mid) && mayEvict(by, target));
  require(mayAssign(by, record.role, caps));
  const changed: Member = { ...target, role: record.role, caps };
  const members = withEntry(state.members, hex(target.mid), changed);
  const invites = stillAnswerable(state.invites, members);
  return {
    members,
    invites,
    boxedDue: state.boxedDue || invites.size < state.invites.size,
    sponsors: sponsored(state.sponsors, changed, by),
  };
}

function handover(state: RoomState, record: RecordOf<"handover">, by: Member): Changes {
  require(by.role === "root" && !equal(record.to, by.mid));
  const heir = memberOf(state, record.to);
  const members = new Map(state.members);
  members.set(hex(by.mid), { ...by, role: "co-owner" });
  members.set(hex(heir.mid), { ...heir, role: "root" });
  return { members, root: heir.mid, boxedDue: true };
}

/** Whether it is a member's, of either kind, or an encryption key that one came with. */
export const isInUse = ({ members }: RoomState, key: Bytes): boolean =>
  [...members.values()].some((member) =>
    [member.signKey, member.encKey, member.firstEncKey].some((one) => equal(one, key)),
  );

function updateKey(state: RoomState, record: RecordOf<"update_e">, by: Member): Changes {
  if (by.renewals >= KEY_RENEWALS + (isOwner(by) ? 1 : 0)) throw new Refused("quota");
  if (isInUse(state, record.enc_key)) throw new Refused("bad_key");
  const renewed: Member = {
    ...by,
    encKey: record.enc_key,
    renewedTs: record.ts,
    boxedTs: 0,
    renewals: by.renewals + 1,
  };
  return { members: withEntry(state.members, hex(by.mid), renewed) };
}

/** With a key that a thief would have use for. */
const boxed = (member: Member, ts: number): Member =>
  member.boxedTs > 0 ? member : { ...member, boxedTs: Math.max(ts, 1) };

function openEpoch(
  state: RoomState,
  record: { readonly epoch: number; readonly key_commitment: Bytes },
  seq: number,
): Changes {
  if (record.epoch !== state.epoch + 1) throw new Refused("epoch_stale");
  const { epoch, key_commitment: keyCommitment } = record;
  return { epoch, keyCommitment, epochSeq: seq, moves: new Map() };
}

function inviteOf(state: RoomState, inviteId: Bytes): Invite {
  const invite = state.invites.get(hex(inviteId));
  if (invite === undefined) throw new Refused("invite_unknown");
  return invite;
}

function historyFloor(state: RoomState, invite: Invite, record: RecordOf<"admit">): number {
  const joinsOnly = invite.history === "join" || state.policy.history === "join";
  return Math.max(state.epochSeq, joinsOnly ? record.seen.seq : 0) + 1;
}

function require(allowed: boolean): void {
  if (!allowed) throw new Refused("forbidden", "your role in the room does not allow this");
}

const isPlain = (role: Role) => role === "member" || role === "readonly";

/** Root makes co-owners and hands out `admit`; other admitters make plain members. */
export function mayAssign(by: Member, role: Role, caps: ReadonlySet<string>): boolean {
  if (by.role === "root") return true;
  return isPlain(role) && (isOwner(by) || caps.size === 0) && !caps.has("admit");
}

/** Root may change or remove anyone else; co-owners neither root nor each other. */
export function mayEvict(by: Member, target: Member): boolean {
  if (equal(by.mid, target.mid) || target.role === "root") return false;
  return by.role === "root" || (isOwner(by) && isPlain(target.role));
}

/** The bots' sponsors once `by` has signed for what `member` is now: the first one stays. */
function sponsored(sponsors: ByHex<Bytes>, member: Member, by: Member): ByHex<Bytes> {
  const id = hex(member.mid);
  if (!member.caps.has("bot")) return without(sponsors, id);
  return sponsors.has(id) ? sponsors : withEntry(sponsors, id, by.mid);
}

/** The invites that some admitter is still there, and allowed, to answer. */
function stillAnswerable(invites: ByHex<Invite>, members: ByHex<Member>): ByHex<Invite> {
  const able = (mid: Bytes) => {
    const member = members.get(hex(mid));
    return member !== undefined && mayAdmit(member);
  };
  return new Map([...invites].filter(([, invite]) => invite.admitters.some(able)));
}

const withEntry = <V>(map: ByHex<V>, key: string, value: V): ByHex<V> =>
  new Map(map).set(key, value);

function without<V>(map: ByHex<V>, key: string): ByHex<V> {
  const rest = new Map(map);
  rest.delete(key);
  return rest;
}

const sameSet = (one: ReadonlySet<string>, other: ReadonlySet<string>) =>
  one.size === other.size && [...one].every((word) => other.has(word));

/** Errors that a peer's record can cause, as against bugs. */
export const isRefusal = (error: unknown): error is Refused | Malformed =>
  error instanceof Refused || error instanceof Malformed;
