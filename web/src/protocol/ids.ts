/** Identifiers and the hash `H` (docs/protocol.md, Keys and ids). */

import { sha256 as digest } from "@noble/hashes/sha2.js";

import { concat, readU32be, u32be, u64be, utf8 } from "./bytes.ts";
import { Malformed } from "./codes.ts";

export const PUBLIC_KEY_BYTES = 45;

export const sha256 = (data: Uint8Array): Uint8Array => digest(data);

/** `H(tag, fields…)`: SHA-256 over "OFC1:" tag LF, and each field after its u32be length. */
export function taggedHash(tag: string, ...fields: readonly (Uint8Array | number)[]): Uint8Array {
  const pieces = [utf8(`OFC1:${tag}\n`)];
  for (const field of fields) {
    const raw = typeof field === "number" ? u64be(field) : field;
    pieces.push(u32be(raw.length), raw);
  }
  return sha256(concat(...pieces));
}

export const roomIdOf = (genesisPayload: Uint8Array) => taggedHash("room", genesisPayload);
/** Of what was signed, never of the container: one payload has many containers. */
export const eventIdOf = (payload: Uint8Array) => taggedHash("eid", payload);
export const payloadHash = (payload: Uint8Array) => taggedHash("payload", payload);
export const memberIdOf = (signKey: Uint8Array) => taggedHash("mid", signKey);
export const relayIdOf = (relayKey: Uint8Array) => taggedHash("relay", relayKey);
/** `L_s`, the room log's running hash after entry `seq`. */
export const logHash = (before: Uint8Array, seq: number, eventId: Uint8Array) =>
  taggedHash("log", before, seq, eventId);
/** `P`, which shows a relay that its bearer knows the invite's token. */
export const inviteProof = (token: Uint8Array) => taggedHash("pre", token);
export const inviteCommitment = (room: Uint8Array, inviteId: Uint8Array, proof: Uint8Array) =>
  taggedHash("inv", room, inviteId, proof);
export const keyCommitment = (nonce: Uint8Array, epoch: number, key: Uint8Array) =>
  taggedHash("kc", nonce, epoch, key);

const TAG = utf8("UEC2");

/**
 * `raw` as a public key, if it has the one canonical form; throws `Malformed`.
 *
 * Says nothing about the curve: Themis refuses a point that is not on it.
 */
export function checkPublicKey(raw: Uint8Array): Uint8Array {
  const canonical =
    raw.length === PUBLIC_KEY_BYTES &&
    TAG.every((byte, index) => raw[index] === byte) &&
    readU32be(raw, 4) === PUBLIC_KEY_BYTES &&
    (raw[12] === 2 || raw[12] === 3);
  if (!canonical) {
    throw new Malformed("bad_key", "the public key is not in its canonical 45-byte form");
  }
  return raw;
}
