/** Invites: a one-time token, carried by a link (docs/protocol.md, Joining). */

import { b64decode, b64encode, concat, equal, utf8 } from "../protocol/bytes.ts";
import { inviteProof, taggedHash } from "../protocol/ids.ts";

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
  throw new LinkInvalid("the relay address must be ws:// or wss://, a host and maybe a port");
}
