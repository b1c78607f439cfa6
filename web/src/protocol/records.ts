/**
 * Signed records: what members and relays sign (docs/protocol.md, Records).
 *
 * Signed as `OFC1:<type>` LF and a JSON object. What is kept and forwarded is the signed container,
 * verbatim; `decodeRecord` takes the payload that verification returned.
 */

import { isAddress } from "./addresses.ts";
import { concat, utf8 } from "./bytes.ts";
import { Malformed } from "./codes.ts";
import { dumpJson, parseJson } from "./json.ts";
import * as limits from "./limits.ts";
import * as is from "./schema.ts";

export const VERSION = 1;
export const ROLES = ["root", "co-owner", "member", "readonly"] as const;
export type Role = (typeof ROLES)[number];
export const KINDS = ["msg", "redact", "beat"] as const;
export type EventKind = (typeof KINDS)[number];
export const HISTORIES = ["rotation", "join"] as const;
export type History = (typeof HISTORIES)[number];

const v = is.int(VERSION, VERSION);
const ts = is.int();
const seen = is.object({ seq: is.int(), log: is.b32 });
const role = is.word("co-owner", "member", "readonly");
// A later version's capability is kept as it stands, and has no effect.
const caps = is.optional(is.list(is.openWord(/^[a-z][a-z0-9-]{0,31}$/), limits.CAPS), []);
const history = is.optional(is.word(...HISTORIES), "rotation");
const cell = is.bytes(limits.RECORD_BYTES);

export const policy = is.object({
  rotate_after: is.optional(is.int(2, 100_000), 100),
  rotate_hours: is.optional(is.int(1, 24 * 365), 24),
  boxed_every: is.optional(is.int(1, 1000), 10),
  history,
  join_rekey: is.optional(is.bool, false),
  max_members: is.optional(is.int(1, limits.ROOM_MEMBERS), limits.ROOM_MEMBERS),
  stall_after: is.optional(is.int(0, 1_000_000), 0),
  beat_minutes: is.optional(is.int(0, 7 * 24 * 60), 10),
  local_only: is.optional(is.bool, false),
});

/** What every control record but GENESIS begins with. */
const control = { v, room: is.b32, mid: is.b32, prev: is.b32, seen, ts };

export const controls = {
  genesis: {
    v,
    nonce: is.b32,
    sign_key: is.key,
    enc_key: is.key,
    relay_id: is.b32,
    policy,
    key_commitment: is.b32,
    ts,
    recovery_key: is.optional(is.key),
    predecessor: is.optional(is.pair(is.b32, is.b32)),
  },
  invite_open: {
    ...control,
    invite_id: is.b16,
    commit: is.b32,
    expires: is.int(),
    admitters: is.list(is.b32, limits.ADMITTERS, 1),
    role,
    caps,
    history,
    token_boxes: is.optional(is.list(is.pair(is.b32, is.bytes()), limits.ADMITTERS), []),
  },
  invite_close: { ...control, invite_id: is.b16, answered: is.optional(is.bool, false) },
  admit: {
    ...control,
    invite_id: is.b16,
    sign_key: is.key,
    enc_key: is.key,
    role,
    caps,
    confirm_hash: is.b32,
    epoch: is.int(),
    history_from: is.int(),
    home: is.b32,
  },
  rekey: { ...control, epoch: is.int(), key_commitment: is.b32, cell: is.bytes(1024) },
  rekey_boxed: {
    ...control,
    epoch: is.int(),
    key_commitment: is.b32,
    boxes: is.list(is.pair(is.b32, is.b32), limits.ROOM_MEMBERS),
    removed: is.optional(is.list(is.b32, limits.ROOM_MEMBERS), []),
    reason: is.optional(is.text(limits.SHORT_TEXT), ""),
  },
  leave: control,
  grant: { ...control, member: is.b32, role, caps },
  handover: { ...control, to: is.b32, accept: is.bytes(2048) },
  home: { ...control, home: is.b32 },
  update_e: { ...control, enc_key: is.key },
  hub_move: {
    ...control,
    hub: is.b32,
    urls: is.list(is.textThat(isAddress), limits.RELAY_URLS, 1),
    term: is.int(),
    force: is.optional(is.bool, false),
    /** The HUB_MOVE before it in the log; a client of before does not say. */
    after: is.optional(is.b32),
  },
} satisfies Record<string, is.Fields>;

export const records = {
  ...controls,
  attach: {
    v,
    room: is.b32,
    mid: is.b32,
    transport_key: is.key,
    relay_id: is.b32,
    challenge: is.b32,
    ts,
  },
  handover_accept: { v, room: is.b32, root: is.b32, mid: is.b32, ctl: is.b32, ts },
  join_req: {
    v,
    room: is.b32,
    invite_id: is.b16,
    proof: is.b32,
    sign_key: is.key,
    enc_key: is.key,
    nonce: is.b32,
    home: is.b32,
    boxes: is.list(is.pair(is.b32, is.bytes()), limits.ADMITTERS, 1),
  },
  join_resp: {
    v,
    room: is.b32,
    invite_id: is.b16,
    request_hash: is.b32,
    mid: is.b32,
    to: is.b32,
    cell,
  },
  join_conf: {
    v,
    room: is.b32,
    invite_id: is.b16,
    request_hash: is.b32,
    response_hash: is.b32,
    mid: is.b32,
    epoch: is.int(),
    cell,
  },
  event: {
    v,
    room: is.b32,
    epoch: is.int(),
    mid: is.b32,
    counter: is.int(1),
    prev: is.b32,
    seen,
    ctl: is.b32,
    kind: is.word(...KINDS),
    sid: is.b16,
    cell_hash: is.b32,
    ts,
    target: is.optional(is.b32),
  },
  key_req: { v, room: is.b32, mid: is.b32, epoch: is.int(), nonce: is.b32, ts },
  key_ans: {
    v,
    room: is.b32,
    mid: is.b32,
    to: is.b32,
    epoch: is.int(),
    request_hash: is.b32,
    box_hash: is.b32,
  },
  receipt: { v, room: is.b32, mid: is.b32, seen, ts },
  log_head: { v, room: is.b32, term: is.int(), seq: is.int(), log: is.b32, ts },
  peer: {
    v,
    relay_id: is.b32,
    peer_id: is.b32,
    challenge: is.b32,
    ts,
    url: is.optional(is.text(limits.URL_TEXT), ""),
  },
  relay: {
    v,
    relay_id: is.b32,
    key: is.key,
    name: is.text(limits.DOMAIN_TEXT),
    urls: is.list(is.text(), limits.RELAY_URLS, 1),
    valid_until: is.int(),
    counter: is.int(),
  },
  succession: {
    v,
    relay_id: is.b32,
    number: is.int(1),
    key: is.key,
    next_key: is.key,
    ts,
    accept: is.bytes(limits.SUCCESSION_BYTES),
  },
  succession_accept: { v, relay_id: is.b32, number: is.int(), key: is.key },
} satisfies Record<string, is.Fields>;

type Tagged<Table extends Record<string, is.Fields>> = {
  [name in keyof Table & string]: { readonly type: name } & is.Infer<Table[name]>;
}[keyof Table & string];

export type SignedRecord = Tagged<typeof records>;
export type ControlRecord = Tagged<typeof controls>;
export type RecordOf<T extends SignedRecord["type"]> = Extract<SignedRecord, { type: T }>;

export const isControl = (record: SignedRecord): record is ControlRecord =>
  Object.hasOwn(controls, record.type);

const LONGEST_PREFIX = "OFC1:succession_accept\n".length;

/** The payload to sign. */
export function encodeRecord(record: SignedRecord): Uint8Array {
  const { type, ...values } = record;
  const fields: is.Fields = records[type];
  return concat(utf8(`OFC1:${type}\n`), dumpJson(is.writeFields(fields, values as never)));
}

/** The record in a payload; `Malformed` for whatever is not exactly one. */
export function decodeRecord(payload: Uint8Array): SignedRecord {
  const end = payload.subarray(0, LONGEST_PREFIX).indexOf(10);
  const head = String.fromCharCode(...payload.subarray(0, Math.max(end, 0)));
  const type = head.startsWith("OFC1:") ? head.slice(5) : "";
  if (!Object.hasOwn(records, type)) {
    throw new Malformed("bad_record", "the record is of no known type");
  }
  const json = parseJson(payload.subarray(end + 1), limits.CONTROL_BYTES);
  if (json["v"] !== VERSION) {
    throw new Malformed("unsupported_version", "the record is of a version that is not known");
  }
  const fields: is.Fields = records[type as SignedRecord["type"]];
  return { type, ...is.readFields(fields, json) } as unknown as SignedRecord;
}
