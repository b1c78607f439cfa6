/**
 * Secure Session: a mutually authenticated channel between two known keys.
 *
 * Every handshake message is checked field by field before the core sees it: the core trusts the
 * lengths inside, and takes a confirmation of any length (see ofcd/themis/session.py). It protects
 * from neither replay nor loss: the channel counts.
 */

import * as core from "wasm-themis";

import { equal, readU32be, utf8 } from "../protocol/bytes.ts";
import { checkPublicKey, PUBLIC_KEY_BYTES } from "../protocol/ids.ts";
import { type KeyPair, ThemisError } from "./core.ts";

export class SessionError extends ThemisError {
  override readonly name = "SessionError";
}

export const SESSION_OVERHEAD = 52;
const HEADER_BYTES = 12;
const MAC_BYTES = 32;
const LEAST_SIGNATURE = 8;
const MOST_SIGNATURE = 72;
const PROTOCOL = utf8("TSPM");
const IDENTITY = utf8("TSID");

type State = "new" | "server-hello" | "client-proof" | "server-confirmation" | "open" | "closed";
const AFTER: Partial<Record<State, State>> = {
  new: "client-proof",
  "server-hello": "server-confirmation",
  "client-proof": "open",
  "server-confirmation": "open",
};

/** One end of a session; the client calls `connect` first. After a `SessionError` it is closed. */
export class SecureSession {
  private state: State = "new";
  private peerKey: Uint8Array | undefined;
  private readonly core: core.SecureSession;

  /** `accept` says whether to talk to whoever proves to hold this key. */
  constructor(
    keys: KeyPair,
    private readonly accept: (key: Uint8Array) => boolean,
  ) {
    const id = checkPublicKey(keys.public);
    this.core = new core.SecureSession(id, new core.PrivateKey(keys.private), (peer) => {
      if (this.peerKey === undefined || !equal(peer, this.peerKey)) {
        throw new SessionError("the peer's id is not the one that was accepted");
      }
      return new core.PublicKey(peer);
    });
  }

  get isEstablished(): boolean {
    return this.state === "open";
  }

  /** The peer's proven key. */
  get peer(): Uint8Array {
    if (this.state !== "open" || this.peerKey === undefined) {
      throw new SessionError("the session is not established");
    }
    return this.peerKey;
  }

  connect(): Uint8Array {
    this.require("new");
    const request = this.guarded(() => this.core.connectionRequest());
    this.state = "server-hello";
    return request;
  }

  /** Takes the peer's handshake message; the answer to send, if one is due. */
  handshake(message: Uint8Array): Uint8Array | undefined {
    const after = AFTER[this.state];
    if (after === undefined) throw new SessionError(`no handshake message is due (${this.state})`);
    const reply = this.guarded(() => {
      this.check(message);
      const answer = this.core.negotiateReply(message);
      if ((after === "open") !== this.core.established()) {
        throw new SessionError("the core and the handshake are out of step");
      }
      return answer;
    });
    this.state = after;
    return reply.length > 0 ? reply : undefined;
  }

  wrap(payload: Uint8Array): Uint8Array {
    this.require("open");
    return this.guarded(() => this.core.wrap(payload));
  }

  unwrap(message: Uint8Array): Uint8Array {
    this.require("open");
    return this.guarded(() => {
      if (message.length <= SESSION_OVERHEAD) throw new SessionError("a message is cut short");
      return this.core.unwrap(message);
    });
  }

  /** Frees the core's memory, which no garbage collector does. May be called again. */
  close(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.core.destroy();
  }

  private require(state: State): void {
    if (this.state !== state) throw new SessionError(`the session is ${this.state}, not ${state}`);
  }

  private guarded<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      this.close();
      if (error instanceof SessionError) throw error;
      throw new SessionError("a message is not from this session or was changed", { cause: error });
    }
  }

  private check(message: Uint8Array): void {
    if (this.state === "client-proof") checkProof(message);
    else if (this.state === "server-confirmation") checkConfirmation(message);
    else this.admit(helloId(message));
  }

  private admit(id: Uint8Array): void {
    const key = checkPublicKey(id);
    if (!this.accept(key)) throw new SessionError("the peer is not the one to talk to");
    this.peerKey = key;
  }
}

const wrong = () => new SessionError("a handshake message has a wrong layout");
const isSignature = (size: number) => size >= LEAST_SIGNATURE && size <= MOST_SIGNATURE;

/** What is inside a container (tag, size of the whole, checksum) that `raw` fills. */
function inside(raw: Uint8Array, tag: Uint8Array): Uint8Array {
  const fits =
    raw.length >= HEADER_BYTES &&
    equal(raw.subarray(0, 4), tag) &&
    readU32be(raw, 4) === raw.length;
  if (!fits) throw wrong();
  return raw.subarray(HEADER_BYTES);
}

/** The id in either side's hello: header, id, ephemeral key, signature; each size exact. */
function helloId(message: Uint8Array): Uint8Array {
  const body = inside(message, PROTOCOL);
  const split = HEADER_BYTES + PUBLIC_KEY_BYTES;
  const id = inside(body.subarray(0, split), IDENTITY);
  checkPublicKey(body.subarray(split, split + PUBLIC_KEY_BYTES));
  if (!isSignature(body.length - split - PUBLIC_KEY_BYTES)) throw wrong();
  return id.slice();
}

function checkProof(message: Uint8Array): void {
  if (!isSignature(inside(message, PROTOCOL).length - MAC_BYTES)) throw wrong();
}

/** The core compares as many bytes as there are: none would always match. */
function checkConfirmation(message: Uint8Array): void {
  if (inside(message, PROTOCOL).length !== MAC_BYTES) throw wrong();
}
