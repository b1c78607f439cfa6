/**
 * The client's end of a link (docs/protocol.md, The link). Sans-IO.
 *
 * handshake: `connect`, then messages until established; hello: sends `hello`, wants `welcome`;
 * open: frames come in.
 */

import { Channel } from "../channel/channel.ts";
import { Malformed } from "../protocol/codes.ts";
import {
  type ClientFrame,
  decodeRelayFrame,
  encodeClientFrame,
  type RelayFrame,
} from "../protocol/frames.ts";
import { VERSION } from "../protocol/records.ts";
import {
  firstSeen,
  isCurrent,
  type KeyFault,
  type KeyPair,
  type Lineage,
  NotItsKey,
  proven,
} from "../themis/index.ts";
import { BulkReader } from "./bulk.ts";

export type SessionState = "handshake" | "hello" | "open";
export type Welcome = Extract<RelayFrame, { type: "welcome" }>;

/** What one message brought: frames to act on, and messages to send back. */
export interface Received {
  readonly frames: readonly RelayFrame[];
  readonly replies: readonly Uint8Array[];
}

export class ClientSession {
  state: SessionState = "handshake";
  welcome: Welcome | undefined;
  /** Another relay than the known one has answered, and is not talked to: how that shows. */
  fault: KeyFault | undefined;
  private readonly channel: Channel;
  private readonly bulk = new BulkReader();

  /**
   * `known` is the relay: no other one is talked to. Undefined trusts the first one seen.
   *
   * Whether a relay is the known one shows only with its `welcome`, which says how it came to its key:
   * until then it is told nothing but `hello`, and nothing of it is taken.
   */
  constructor(
    keys: KeyPair,
    private known: Lineage | undefined,
    private readonly software = "",
  ) {
    this.channel = new Channel(keys, () => true);
  }

  /** The relay's proven key. */
  get peer(): Uint8Array {
    return this.channel.peer;
  }

  /** The relay on the other end, proven by its `welcome`. */
  get relay(): Lineage {
    if (this.state !== "open" || this.known === undefined) {
      throw new Malformed("out_of_order", "the relay has not said welcome");
    }
    return this.known;
  }

  get isWorn(): boolean {
    return this.channel.isWorn;
  }

  connect(): Uint8Array {
    return this.channel.connect();
  }

  /** One message that carries all these frames. */
  send(frames: readonly ClientFrame[]): Uint8Array {
    return this.channel.wrap(frames.map(encodeClientFrame));
  }

  /** Takes a message of the relay's; whatever it throws, the link is then to be closed. */
  receive(message: Uint8Array): Received {
    if (this.state === "handshake") return this.shake(message);
    const { frames: raw, trailer } = this.channel.unwrap(message);
    const frames = this.bulk.unfold(raw.map(decodeRelayFrame), trailer);
    if (this.state === "hello") this.takeFirst(frames[0]);
    return { frames, replies: [] };
  }

  close(): void {
    this.channel.close();
  }

  private shake(message: Uint8Array): Received {
    const reply = this.channel.handshake(message);
    const replies = reply === undefined ? [] : [reply];
    if (this.channel.isEstablished) {
      this.state = "hello";
      replies.push(this.send([{ type: "hello", versions: [VERSION], software: this.software }]));
    }
    return { frames: [], replies };
  }

  /** A welcome, or why there is none, if it is the known relay that says so. */
  private takeFirst(frame: RelayFrame | undefined): void {
    if (frame?.type === "welcome") this.takeWelcome(frame);
    else if (frame?.type !== "failure") {
      throw new Malformed("out_of_order", "the relay did not begin with a welcome");
    } else if (this.known !== undefined && !isCurrent(this.known, this.peer)) {
      throw new Malformed("out_of_order", "whoever answers refuses, and does not say who it is");
    }
  }

  private prove(shown: readonly Uint8Array[]): Lineage {
    try {
      if (this.known === undefined) return firstSeen(this.peer, shown);
      return proven(this.known, this.peer, shown);
    } catch (error) {
      this.fault = error instanceof NotItsKey ? error.fault : "unproven";
      throw error;
    }
  }

  private takeWelcome(welcome: Welcome): void {
    if (welcome.version !== VERSION) {
      throw new Malformed("unsupported_version", "the relay speaks another version");
    }
    this.known = this.prove(welcome.succession);
    this.welcome = welcome;
    this.state = "open";
  }
}
