/** What each seal is bound to: one tag for each kind of cell, so that none opens as another. */

import { utf8 } from "../protocol/bytes.ts";
import { taggedHash } from "../protocol/ids.ts";
import type { EventKind } from "../protocol/records.ts";

type Bytes = Uint8Array;

/** Of an event's cell, sealed under the epoch's key. */
export const messageContext = (
  room: Bytes,
  epoch: number,
  mid: Bytes,
  counter: number,
  sid: Bytes,
  kind: EventKind,
) => taggedHash("msg", room, epoch, mid, counter, sid, utf8(kind));

/** Of a routine REKEY's cell: the key of `epoch`, sealed under the one before. */
export const rekeyContext = (room: Bytes, epoch: number, keyCommitment: Bytes, prev: Bytes) =>
  taggedHash("rekey", room, epoch, keyCommitment, prev);

/** Of the proof in a join box, sealed under the invite's token. */
export const proofContext = (room: Bytes, inviteId: Bytes) =>
  taggedHash("jr-proof", room, inviteId);

/** What that proof says: the token's bearer shows these keys, in this request. */
export const proofPlaintext = (
  room: Bytes,
  inviteId: Bytes,
  signKey: Bytes,
  encKey: Bytes,
  nonce: Bytes,
) => taggedHash("jr", room, inviteId, signKey, encKey, nonce);

/** Of JOIN_RESP's cell, sealed under the joiner's J, with the token as a second secret. */
export const joinContext = (room: Bytes, inviteId: Bytes, token: Bytes, requestHash: Bytes) =>
  taggedHash("join", room, inviteId, token, requestHash);

/** Of JOIN_CONFIRM's cell, sealed under the epoch's key. */
export const confirmContext = (room: Bytes, mid: Bytes, epoch: number) =>
  taggedHash("conf", room, mid, epoch);

/** Of one attachment chunk, sealed under the file's own key. */
export const attachmentContext = (
  room: Bytes,
  blob: Bytes,
  index: number,
  count: number,
  size: number,
) => taggedHash("att", room, blob, index, count, size);

/** Of an ephemeral signal, sealed under the epoch's key. */
export const signalContext = (room: Bytes, epoch: number, mid: Bytes, nonce: Bytes) =>
  taggedHash("sig", room, epoch, mid, nonce);
