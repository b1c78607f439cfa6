/** Relays that greet whoever comes, and say nothing else. */

import { onTestFinished } from "vitest";

import { Channel } from "../src/channel/channel.ts";
import { type Relay, type RelayListeners, Relays } from "../src/client/relays.ts";
import { encodeRelayFrame, type RelayFrame } from "../src/protocol/frames.ts";
import { type KeyPair, lineage } from "../src/themis/index.ts";
import type { SocketLike } from "../src/wire/link.ts";

/** What a relay greets with that says nothing of itself. */
export const welcome = {
  type: "welcome",
  version: 1,
  challenge: new Uint8Array(32),
  relay_limits: {
    event_bytes: 1,
    blob_bytes: 1,
    room_members: 1,
    events_per_second: 1,
    requests_in_flight: 1,
  },
  ts: 0,
  name: "",
  software: "",
} as const;

/** A relay with these keys, and how it says that it came to them. */
export interface Greeter {
  readonly keys: KeyPair;
  readonly shown?: readonly Uint8Array[];
  /** What it says at once, around its welcome. */
  readonly before?: readonly RelayFrame[];
  readonly after?: readonly RelayFrame[];
}

/** A socket to a relay that greets whoever comes, and says what a test has it `push`. */
export function socketTo({ keys, shown: succession = [], before = [], after = [] }: Greeter) {
  const relay = new Channel(keys, () => true);
  const answer = (data: Uint8Array) =>
    queueMicrotask(() => socket.onmessage?.({ data: data.slice().buffer }));
  const push = (...frames: RelayFrame[]) => answer(relay.wrap(frames.map(encodeRelayFrame)));
  const socket: SocketLike & { push: typeof push } = {
    push,
    binaryType: "arraybuffer",
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    close: () => undefined,
    send(data) {
      if (relay.isEstablished) {
        relay.unwrap(data);
        push(...before, { ...welcome, succession }, ...after);
        return;
      }
      const reply = relay.handshake(data);
      if (reply) answer(reply);
    },
  };
  queueMicrotask(() => socket.onopen?.({} as never));
  return socket;
}

/** Who hears of nothing, and knows of no relay more than its id. */
export const nobody: RelayListeners = {
  opened: async () => undefined,
  lost: () => undefined,
  frame: () => undefined,
  changed: () => undefined,
  known: lineage,
  proven: async () => undefined,
  disputed: async () => undefined,
};

/** Relays at one address, where that one answers whose turn it is. */
export function relaysAt(answering: () => Greeter, listeners: Partial<RelayListeners> = {}) {
  const opened: Relay[] = [];
  const relays = new Relays(
    { ...nobody, opened: async (relay) => void opened.push(relay), ...listeners },
    () => socketTo(answering()),
  );
  onTestFinished(() => relays.close());
  return { relays, opened };
}
