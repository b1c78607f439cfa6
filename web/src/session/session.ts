/**
 * The client's end of a link (docs/protocol.md, The link). Sans-IO.
 *
 * handshake: `connect`, then messages until established; hello: sends `hello`, wants `welcome`;
 * open: frames come in.
 */

import { Channel } from "../channel/channel.ts";
import { equal } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import {
  type ClientFrame,
  decodeRelayFrame,
  encodeClientFrame,
  type RelayFrame,
} from "../protocol/frames.ts";
import { relayIdOf } from "../protocol/ids.ts";
import { VERSION } from "../protocol/records.ts";
import type { KeyPair } from "../themis/index.ts";
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
  /** Another relay than the pinned one has answered: it is not talked to. */
  isOther = false;
  private readonly channel: Channel;
  private readonly bulk = new BulkReader();

  /** `pin` is the relay's id: no other relay is talked to. Undefined trusts the first key seen. */
  constructor(
    keys: KeyPair,
    pin: Uint8Array | undefined,
    private readonly software = "",
  ) {
    this.channel = new Channel(keys, (key) => {
      this.isOther = pin !== undefined && !equal(relayIdOf(key), pin);
      return !this.isOther;
    });
  }

  /** The relay's proven key. */
  get peer(): Uint8Array {
    return this.channel.peer;
  }

  /** The relay on the other end, proven. */
  get relayId(): Uint8Array {
    return relayIdOf(this.channel.peer);
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
    if (this.state === "hello" && frames[0]?.type === "welcome") this.takeWelcome(frames[0]);
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

  private takeWelcome(welcome: Welcome): void {
    if (welcome.version !== VERSION) {
      throw new Malformed("unsupported_version", "the relay speaks another version");
    }
    this.welcome = welcome;
    this.state = "open";
  }
}
