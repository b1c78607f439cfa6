/** Invites: a one-time token, carried by a link (docs/protocol.md, Joining). */

import { b64decode, b64encode, concat, equal, utf8 } from "../protocol/bytes.ts";
import { inviteCommitment, inviteProof, taggedHash } from "../protocol/ids.ts";
import * as limits from "../protocol/limits.ts";
import type { RecordOf, Role } from "../protocol/records.ts";
import { hubOf, isOwner, memberOf, type RoomState } from "../protocol/room.ts";
import { generateKey, randomBytes, type Signed } from "../themis/index.ts";
import { BoxRejected, openBox, sealBox } from "./boxes.ts";
import { headerFields, type Making, signControl } from "./controls.ts";
import { checkOwn, type MemberKeys } from "./keys.ts";

export const SCHEME = "ofc1:";
const ADDRESS_BYTES = 200;
const LINK_CHARACTERS = 4096;
const CHECK_BYTES = 4;
const FIXED = [32, 32, 16, 32, 32] as const;
const FIXED_BYTES = FIXED.reduce<number>((sum, size) => sum + size, 0);
const DAMAGED = "the invite code is cut short or mistyped: copy the whole link again";
/** Visible ASCII without what a link or a mail program would stumble over. */
const ADDRESS = /^wss?:\/\/[!"$-;=A-[\]-~]+$/;

/** A link that is no invite, with a sentence for whoever pasted it. */
export class LinkInvalid extends Error {
  override readonly name = "LinkInvalid";
}

/** What an invite link carries. Whoever holds the token can join, once. */
export interface InviteCode {
  /** The relay's WebSocket address: ws:// or wss://. */
  readonly relayUrl: string;
  readonly relayId: Uint8Array;
  readonly room: Uint8Array;
  readonly inviteId: Uint8Array;
  readonly token: Uint8Array;
  readonly inviter: Uint8Array;
}

export const proofOf = (code: InviteCode): Uint8Array => inviteProof(code.token);

const check = (body: Uint8Array) => taggedHash("link", body).subarray(0, CHECK_BYTES);

/** The bare form: `ofc1:` and the payload. */
export function inviteText(code: InviteCode): string {
  const body = concat(
    code.relayId,
    code.room,
    code.inviteId,
    code.token,
    code.inviter,
    utf8(code.relayUrl),
  );
  return SCHEME + b64encode(concat(body, check(body)));
}

/** The link form: a page to open (the relay's own, if none is given), and the code behind `#`. */
export function inviteLink(code: InviteCode, page = pageOf(code.relayUrl)): string {
  return `${page}#${inviteText(code)}`;
}

function pageOf(relayUrl: string): string {
  const page = relayUrl.replace(/^ws/, "http");
  return /^https?:\/\/[^/]+$/.test(page) ? `${page}/` : page;
}

/**
 * A new invite, good until `expires`: INVITE_OPEN to send, and the code to hand over once the relay
 * has taken it. I and every owner may answer it, eight at most; a bot's, I alone.
 */
export function makeInvite(
  making: Making,
  relayUrl: string,
  {
    expires,
    role = "member",
    caps = [],
    inviteId: invite_id = randomBytes(16),
    token = generateKey(),
  }: {
    expires: number;
    role?: Exclude<Role, "root">;
    caps?: readonly string[];
    /** Of an invite that is made again: its link stays the same. */
    inviteId?: Uint8Array;
    token?: Uint8Array;
  },
): { signed: Signed<RecordOf<"invite_open">>; code: InviteCode } {
  const { state, mine } = making;
  checkOwn(state, mine);
  const admitters = caps.includes("bot") ? [mine.mid] : admittersOf(state, mine.mid);
  const others = admitters.filter((mid) => !equal(mid, mine.mid));
  const signed = signControl(making, {
    type: "invite_open",
    ...headerFields(making),
    invite_id,
    commit: inviteCommitment(state.room, invite_id, inviteProof(token)),
    expires,
    admitters,
    role,
    caps: [...caps].sort(),
    history: "rotation",
    token_boxes: others.map((mid) => {
      const boxed = sealBox("inv", mine, memberOf(state, mid), state.room, { invite_id, token });
      return [mid, boxed] as const;
    }),
  });
  const { room } = state;
  return {
    signed,
    code: { relayUrl, relayId: hubOf(state), room, inviteId: invite_id, token, inviter: mine.mid },
  };
}

function admittersOf(state: RoomState, mine: Uint8Array): Uint8Array[] {
  const owners = [...state.members.values()].filter((one) => isOwner(one) && !equal(one.mid, mine));
  return [mine, ...owners.map(({ mid }) => mid)].slice(0, limits.ADMITTERS);
}

/** The token of an invite that I may answer too; throws `BoxRejected`. */
export function openTokenBox(
  state: RoomState,
  mine: MemberKeys,
  record: RecordOf<"invite_open">,
): Uint8Array {
  const boxed = record.token_boxes.find(([mid]) => equal(mid, mine.mid))?.[1];
  if (boxed === undefined) throw new BoxRejected("the invite holds no box for this member");
  const inviter = memberOf(state, record.mid);
  const { invite_id, token } = openBox("inv", mine, inviter, record.room, boxed);
  const commit = inviteCommitment(record.room, record.invite_id, inviteProof(token));
  if (!equal(invite_id, record.invite_id) || !equal(commit, record.commit)) {
    throw new BoxRejected("the box does not hold this invite's token");
  }
  return token;
}

/** The invite in a link or in its bare form; throws `LinkInvalid`, saying what is wrong. */
export function parseLink(text: string): InviteCode {
  if (text.length > LINK_CHARACTERS) throw new LinkInvalid("this is too long for an invite link");
  const bare = text.replace(/\s/gu, "").replace(/^[<>]+|[<>]+$/g, "");
  const at = bare.indexOf("#");
  if (at >= 0 && !/^(https?|wss?):\/\//.test(bare)) {
    throw new LinkInvalid("an invite link begins with https:// or ofc1:");
  }
  const fragment = bare.slice(at + 1);
  if (!fragment.startsWith(SCHEME)) {
    throw new LinkInvalid("this is not an invite link: it holds no ofc1: code");
  }
  return parsePayload(fragment.slice(SCHEME.length));
}

function parsePayload(payload: string): InviteCode {
  if (!/^[A-Za-z0-9_-]+$/.test(payload)) {
    throw new LinkInvalid("the invite code holds a character that does not belong there");
  }
  const raw = decoded(payload);
  const body = raw.subarray(0, -CHECK_BYTES);
  if (body.length <= FIXED_BYTES || !equal(raw.subarray(-CHECK_BYTES), check(body))) {
    throw new LinkInvalid(DAMAGED);
  }
  let at = 0;
  const [relayId, room, inviteId, token, inviter] = FIXED.map((size) => {
    at += size;
    return body.slice(at - size, at);
  }) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  return { relayUrl: address(body.subarray(at)), relayId, room, inviteId, token, inviter };
}

function decoded(payload: string): Uint8Array {
  try {
    return b64decode(payload);
  } catch {
    throw new LinkInvalid(DAMAGED);
  }
}

function address(raw: Uint8Array): string {
  const text = String.fromCharCode(...raw.subarray(0, ADDRESS_BYTES + 1));
  if (text.length > ADDRESS_BYTES || !ADDRESS.test(text)) {
    throw new LinkInvalid("the relay address holds characters that no address has, or too many");
  }
  try {
    if (new URL(text).port !== "0") return text;
  } catch {
    // falls through: the sentence is the same
  }
  throw new LinkInvalid(
    "the relay address must be wss:// (or ws://, not http), a host and maybe a port",
  );
}
