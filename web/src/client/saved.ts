/** What the vault keeps of rooms and joins, as JSON under the same rules as on the wire. */

import type { EpochKeys } from "../e2e/epochs.ts";
import { inviteText, parseLink } from "../e2e/invites.ts";
import type { Joining } from "../e2e/joining.ts";
import { type MemberKeys, memberKeys } from "../e2e/keys.ts";
import type { RoomLog, SenderHead, Senders } from "../e2e/log.ts";
import { fromUtf8, hex, utf8 } from "../protocol/bytes.ts";
import { dumpJson, type JsonObject } from "../protocol/json.ts";
import { HISTORIES, policy, type RecordOf, ROLES } from "../protocol/records.ts";
import type { HubTerm, Invite, Member, RoomState } from "../protocol/room.ts";
import * as is from "../protocol/schema.ts";
import { type KeyPair, peek, type Signed } from "../themis/index.ts";

// Sealed by the vault, so it is ours: JSON.parse is enough, and depth and size are not bounded.
const load = (raw: Uint8Array) => JSON.parse(fromUtf8(raw)) as JsonObject;

/** Reads and writes one kind of record. */
interface Codec<T> {
  write(value: T): Uint8Array;
  read(raw: Uint8Array): T;
}

export function codec<F extends is.Fields>(fields: F): Codec<is.Infer<F>> {
  return {
    write: (value) => dumpJson(is.writeFields(fields, value)),
    read: (raw) => is.readFields(fields, load(raw)),
  };
}

const words: is.Kind<ReadonlySet<string>> = {
  read: (value) => new Set(is.list(is.text()).read(value)),
  write: (value) => [...value],
};

function byId<T>(
  kind: is.Kind<T>,
  idOf: (value: T) => Uint8Array,
): is.Kind<ReadonlyMap<string, T>> {
  const list = is.list(kind);
  return {
    read: (value) => new Map(list.read(value).map((one) => [hex(idOf(one)), one])),
    write: (value) => list.write([...value.values()]),
  };
}

function dict<T>(kind: is.Kind<T>): is.Kind<ReadonlyMap<string, T>> {
  const pairs = is.list(is.pair(is.text(), kind));
  return {
    read: (value) => new Map(pairs.read(value)),
    write: (value) => pairs.write([...value]),
  };
}

const savedMember = is.object({
  mid: is.b32,
  signKey: is.key,
  encKey: is.key,
  role: is.word(...ROLES),
  caps: words,
  historyFrom: is.int(),
  joinedSeq: is.int(),
  home: is.b32,
  // Not there in what was kept before keys could be renewed.
  firstEncKey: is.optional(is.key),
  renewedTs: is.optional(is.int(), 0),
  boxedTs: is.optional(is.int(), 0),
  renewals: is.optional(is.int(), 0),
});
const member: is.Kind<Member> = {
  read: (value) => {
    const one = savedMember.read(value);
    return { ...one, firstEncKey: one.firstEncKey ?? one.encKey };
  },
  write: savedMember.write,
};

const invite: is.Kind<Invite> = is.object({
  inviteId: is.b16,
  commit: is.b32,
  expires: is.int(),
  admitters: is.list(is.b32),
  role: is.word(...ROLES),
  caps: words,
  history: is.word(...HISTORIES),
  inviter: is.b32,
});

const hubTerm: is.Kind<HubTerm> = is.object({
  term: is.int(),
  relayId: is.b32,
  since: is.int(),
  urls: is.list(is.text()),
  // Not there in what was kept before rooms could be moved by force.
  forced: is.optional(is.bool, false),
  eventId: is.optional(is.b32, new Uint8Array()),
});

export const savedState: Codec<RoomState> = codec({
  room: is.b32,
  nonce: is.b32,
  relayId: is.b32,
  policy,
  root: is.b32,
  epoch: is.int(),
  keyCommitment: is.b32,
  epochSeq: is.int(),
  ctl: is.b32,
  seq: is.int(),
  members: byId(member, (one) => one.mid),
  invites: byId(invite, (one) => one.inviteId),
  departed: dict(is.word("evicted", "left")),
  sponsors: dict(is.b32),
  boxedDue: is.bool,
  heads: is.list(is.b32),
  moves: dict(is.int()),
  moved: is.optional(is.list(hubTerm), []),
  routineRekeys: is.int(),
  closed: is.bool,
});

export const savedLog: Codec<RoomLog> = codec({
  room: is.b32,
  seq: is.int(),
  log: is.b32,
  recent: is.list(is.b32),
  start: is.int(),
});

const senderHead: is.Kind<SenderHead> = is.object({
  counter: is.int(),
  eventId: is.b32,
  sid: is.b16,
  voided: is.list(is.b32),
  certain: is.bool,
});

const senders = codec({ heads: dict(senderHead) });
export const savedSenders: Codec<Senders> = {
  write: (heads) => senders.write({ heads }),
  read: (raw) => senders.read(raw).heads,
};

const epochKey = is.object({ epoch: is.int(), key: is.b32 });
const epochKeys = codec({ nonce: is.b32, keys: is.list(epochKey) });
export const savedEpochKeys: Codec<EpochKeys> = {
  write: ({ nonce, keys }) =>
    epochKeys.write({ nonce, keys: [...keys].map(([epoch, key]) => ({ epoch, key })) }),
  read(raw) {
    const { nonce, keys } = epochKeys.read(raw);
    return { nonce, keys: new Map(keys.map(({ epoch, key }) => [epoch, key])) };
  },
};

const pairFields = { private: is.bytes(), public: is.key };
const keyPair = is.object(pairFields);
const otherPair = is.object({ ...pairFields, replaced: is.int() });
export const savedKeyPair: Codec<KeyPair> = codec(pairFields);
const pairs = codec({
  sign: keyPair,
  encrypt: keyPair,
  others: is.optional(is.list(otherPair), []),
});
export const savedMemberKeys: Codec<MemberKeys> = {
  write: ({ sign, encrypt, others }) => pairs.write({ sign, encrypt, others }),
  read(raw) {
    const { sign, encrypt, others } = pairs.read(raw);
    return memberKeys(sign, encrypt, others);
  },
};

const place = is.object({ url: is.text(), relayId: is.b32 });

/** A room as it stands in the list of rooms. */
export const savedRoom = codec({
  room: is.b32,
  url: is.text(),
  relayId: is.b32,
  name: is.text(),
  myName: is.text(),
  /** The last entry that its person has seen. */
  readUpTo: is.int(),
  status: is.word("active", "removed", "frozen"),
  /** Why it is frozen, or how it was left: a sentence for its person. */
  reason: is.text(),
  /** The code of what froze it, where there is one. */
  code: is.optional(is.text(), ""),
  /** A founder's GENESIS, until the relay has taken it. */
  genesis: is.optional(is.bytes()),
  createToken: is.optional(is.text(), ""),
  /** The address of the relay that orders the room, where that is another one; else "". */
  hubUrl: is.optional(is.text(), ""),
  /** Where its member has asked to be at home, until HOME stands in the log. */
  moving: is.optional(place),
});
export type SavedRoom = ReturnType<typeof savedRoom.read>;

/** A room as it stands in the list once it is there. */
export const newRoom = (
  given: Pick<SavedRoom, "room" | "url" | "relayId"> & Partial<SavedRoom>,
): SavedRoom => ({
  name: "",
  myName: "",
  readUpTo: 0,
  status: "active",
  reason: "",
  code: "",
  genesis: undefined,
  createToken: "",
  hubUrl: "",
  moving: undefined,
  ...given,
});

const joining = codec({
  link: is.text(),
  name: is.text(),
  sign: keyPair,
  encrypt: keyPair,
  joinKey: is.b32,
  request: is.bytes(),
  confirm: is.optional(is.bytes()),
  keys: is.optional(is.bytes()),
  roomName: is.text(),
  names: is.list(is.pair(is.b32, is.text())),
  checkpoint: is.optional(is.object({ seq: is.int(), log: is.b32 })),
  response: is.optional(is.bytes()),
  ctl: is.optional(is.b32),
  home: is.optional(place),
});

/** A join under way: the request, and once it was answered what the answer brought. */
export interface PendingJoin {
  readonly joining: Joining;
  readonly name: string;
  readonly confirm: Uint8Array | undefined;
  readonly keys: EpochKeys | undefined;
  readonly roomName: string;
  readonly names: readonly (readonly [Uint8Array, string])[];
  /** What L must be at that seq: from there on I know as much as my admitter did. */
  readonly checkpoint: { readonly seq: number; readonly log: Uint8Array } | undefined;
  /** The answer to which `confirm` belongs. */
  readonly response: Uint8Array | undefined;
  /** The control head that my admitter named: what is shown later must go on from there. */
  readonly ctl: Uint8Array | undefined;
  /** The relay to join through, where that is not the one that the invite names. */
  readonly home: { readonly url: string; readonly relayId: Uint8Array } | undefined;
}

export const savedJoin: Codec<PendingJoin> = {
  write: ({ joining: { code, keys, joinKey, request }, ...rest }) =>
    joining.write({
      ...rest,
      link: inviteText(code),
      sign: keys.sign,
      encrypt: keys.encrypt,
      joinKey,
      request: request.envelope,
      keys: rest.keys && savedEpochKeys.write(rest.keys),
    }),
  read(raw) {
    const { link, sign, encrypt, joinKey, request, keys, ...rest } = joining.read(raw);
    return {
      ...rest,
      keys: keys && savedEpochKeys.read(keys),
      joining: {
        code: parseLink(link),
        keys: memberKeys(sign, encrypt),
        joinKey,
        request: peek(request) as Signed<RecordOf<"join_req">>,
      },
    };
  },
};

/** What must be there in a vault that is whole. */
export function records(raw: Uint8Array | undefined): Uint8Array {
  if (raw === undefined) throw new RangeError("the vault holds a room without its records");
  return raw;
}

/** JSON of one's own, for records that nobody else reads. */
export const json = {
  write: (value: unknown): Uint8Array => utf8(JSON.stringify(value)),
  read: <T>(raw: Uint8Array): T => JSON.parse(fromUtf8(raw)) as T,
};
