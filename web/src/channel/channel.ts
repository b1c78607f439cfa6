/** One end of a link's Secure Session, with its own message counter (docs/protocol.md, The link). */

import { concat, equal, u64be } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import * as limits from "../protocol/limits.ts";
import { joinParts, splitParts } from "../protocol/parts.ts";
import { type KeyPair, SecureSession } from "../themis/index.ts";

/** Messages in one direction before a new handshake is due. */
export const MAX_MESSAGES = 2 ** 20;
const COUNTER_BYTES = 8;

/** Client (who calls `connect` first) or, in tests, relay. */
export class Channel {
  private readonly session: SecureSession;
  private sent = 0;
  private received = 0;

  constructor(keys: KeyPair, accept: (key: Uint8Array) => boolean) {
    this.session = new SecureSession(keys, accept);
  }

  get isEstablished(): boolean {
    return this.session.isEstablished;
  }

  get peer(): Uint8Array {
    return this.session.peer;
  }

  /** So many messages have passed that the link should be opened anew. */
  get isWorn(): boolean {
    return Math.max(this.sent, this.received) >= MAX_MESSAGES;
  }

  connect(): Uint8Array {
    return this.session.connect();
  }

  handshake(message: Uint8Array): Uint8Array | undefined {
    return this.session.handshake(message);
  }

  /** One message that carries these encoded frames, in order, and a trailer beside them. */
  wrap(frames: readonly Uint8Array[], trailer: readonly Uint8Array[] = []): Uint8Array {
    this.sent += 1;
    const wrapped = this.session.wrap(concat(u64be(this.sent), joinParts(frames)));
    return joinParts([wrapped, ...trailer]);
  }

  /** The encoded frames of a message, and its trailer, of which nothing is proven yet. */
  unwrap(message: Uint8Array): { frames: Uint8Array[]; trailer: Uint8Array[] } {
    const [wrapped = new Uint8Array(), ...trailer] = splitParts(message, limits.TRAILER_PARTS + 1);
    const payload = this.session.unwrap(wrapped);
    this.received += 1;
    if (!equal(payload.subarray(0, COUNTER_BYTES), u64be(this.received))) {
      this.close();
      throw new Malformed("out_of_order", "a message came out of order, or again");
    }
    const frames = splitParts(payload.subarray(COUNTER_BYTES), limits.FRAMES_PER_MESSAGE);
    return { frames, trailer };
  }

  close(): void {
    this.session.close();
  }
}
