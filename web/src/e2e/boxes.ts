/**
 * Boxes: a secret from one member to another (docs/protocol.md, Boxes).
 *
 * What Ana boxed for Bo also opens, at Ana's, as if Bo had sent it. So the text says what it is
 * for, in which room, from whom and to whom, and `openBox` checks all four.
 */

import { concat, equal, utf8 } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { dumpJson, parseJson } from "../protocol/json.ts";
import * as limits from "../protocol/limits.ts";
import * as is from "../protocol/schema.ts";
import { box, CannotOpen, KEY_BYTES, unbox } from "../themis/index.ts";
import { heldPairs, type MemberKeys } from "./keys.ts";

export class BoxRejected extends Error {
  override readonly name = "BoxRejected";
}

/** One end of a box. */
export interface Party {
  readonly mid: Uint8Array;
  readonly encKey: Uint8Array;
}

const key = is.bytes(KEY_BYTES);
const envelope = { room: is.b32, from: is.b32, to: is.b32 };

export const purposes = {
  /** The room key of a boxed REKEY. */
  key: { epoch: is.int(), key_commitment: is.b32, prev: is.b32, key },
  /** The current room key, for a member who asked by KEY_REQ. */
  answer: { epoch: is.int(), key_commitment: is.b32, request_hash: is.b32, key },
  /** An invite's token, for another admitter. */
  inv: { invite_id: is.b16, token: key },
  /** The joiner's J, and its proof to hold the token for the keys it shows. */
  join: {
    invite_id: is.b16,
    key,
    nonce: is.b32,
    proof: is.bytes(256),
    name: is.optional(is.text(512), ""),
  },
} satisfies Record<string, is.Fields>;

export type Purpose = keyof typeof purposes;
export type BoxContent<P extends Purpose> = is.Infer<(typeof purposes)[P]>;

const head = (purpose: Purpose) => utf8(`OFC1:box:${purpose}\n`);

/** `content` for `to` alone. */
export function sealBox<P extends Purpose>(
  purpose: P,
  mine: MemberKeys,
  to: Party,
  room: Uint8Array,
  content: BoxContent<P>,
): Uint8Array {
  const fields = {
    ...is.writeFields(envelope, { room, from: mine.mid, to: to.mid }),
    ...is.writeFields<is.Fields>(purposes[purpose], content),
  };
  return box(mine.encrypt.private, to.encKey, concat(head(purpose), dumpJson(fields)));
}

/**
 * What `sender` boxed for me; throws `BoxRejected`. Tries every pair held: a box may have been made
 * for a key just before it was replaced.
 */
export function openBox<P extends Purpose>(
  purpose: P,
  mine: MemberKeys,
  sender: Party,
  room: Uint8Array,
  boxed: Uint8Array,
): BoxContent<P> {
  const { said, content } = read(purpose, unboxed(mine, sender, boxed));
  if (!equal(said.room, room)) throw new BoxRejected("the box was made for another room");
  if (!equal(said.from, sender.mid)) throw new BoxRejected("the box names another sender");
  if (!equal(said.to, mine.mid)) throw new BoxRejected("the box was made for someone else");
  return content;
}

function unboxed(mine: MemberKeys, sender: Party, boxed: Uint8Array): Uint8Array {
  for (const pair of heldPairs(mine)) {
    try {
      return unbox(pair.private, sender.encKey, boxed);
    } catch (error) {
      if (!(error instanceof CannotOpen)) throw error;
    }
  }
  throw new BoxRejected("the box does not open");
}

function read<P extends Purpose>(
  purpose: P,
  payload: Uint8Array,
): { said: is.Infer<typeof envelope>; content: BoxContent<P> } {
  const start = head(purpose);
  if (!equal(payload.subarray(0, start.length), start)) {
    throw new BoxRejected("the box was made for another purpose");
  }
  try {
    const json = parseJson(payload.subarray(start.length), limits.BOX_BYTES);
    const content = is.readFields<is.Fields>(purposes[purpose], json) as BoxContent<P>;
    requireWholeKeys(content);
    return { said: is.readFields(envelope, json), content };
  } catch (error) {
    if (error instanceof Malformed) throw new BoxRejected("the box does not hold what it should");
    throw error;
  }
}

function requireWholeKeys(content: object): void {
  for (const [name, value] of Object.entries(content)) {
    const isKey = name === "key" || name === "token";
    if (isKey && (value as Uint8Array).length !== KEY_BYTES) {
      throw new Malformed("bad_record", "a key has 32 bytes");
    }
  }
}
