/** Relays are told apart by their keys, whatever address they answer at. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { Channel } from "../src/channel/channel.ts";
import { OtherRelay, type Relay, Relays } from "../src/client/relays.ts";
import { encodeRelayFrame } from "../src/protocol/frames.ts";
import { relayIdOf } from "../src/protocol/ids.ts";
import { generateKeyPair, type KeyPair } from "../src/themis/index.ts";
import { LIFETIME_MS, LinkLost, type SocketLike } from "../src/wire/link.ts";
import { URL_ } from "./rooms.ts";

const welcome = {
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

/** A socket to a relay with these keys that greets whoever comes. */
function socketTo(keys: KeyPair): SocketLike {
  const relay = new Channel(keys, () => true);
  const answer = (data: Uint8Array) =>
    queueMicrotask(() => socket.onmessage?.({ data: data.slice().buffer }));
  const socket: SocketLike = {
    binaryType: "arraybuffer",
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    close: () => undefined,
    send(data) {
      if (relay.isEstablished) {
        relay.unwrap(data);
        answer(relay.wrap([encodeRelayFrame(welcome)]));
        return;
      }
      const reply = relay.handshake(data);
      if (reply) answer(reply);
    },
  };
  queueMicrotask(() => socket.onopen?.({} as never));
  return socket;
}

/** Relays at one address, where that one answers whose turn it is. */
function relaysAt(answering: () => KeyPair) {
  const opened: Relay[] = [];
  const relays = new Relays(
    {
      opened: async (relay) => void opened.push(relay),
      lost: () => undefined,
      frame: () => undefined,
      changed: () => undefined,
    },
    () => socketTo(answering()),
  );
  onTestFinished(() => relays.close());
  return { relays, opened };
}

test("of two relays known at one address, each has its own link, or none", async () => {
  const [one, two] = [generateKeyPair(), generateKeyPair()];
  const { relays, opened } = relaysAt(() => two);
  const [first, second] = [one, two].map(({ public: key }) => relays.at(URL_, relayIdOf(key)));
  expect(first).not.toBe(second);
  expect(relays.at(URL_, relayIdOf(one.public))).toBe(first);
  await expect.poll(() => opened).toEqual([second]);
  await expect.poll(() => relays.stateOf(URL_, relayIdOf(one.public))).toBe("offline");
  expect(relays.stateOf(URL_, relayIdOf(two.public))).toBe("online");
  expect(relays.isOther(URL_, relayIdOf(one.public))).toBe(true);
  expect(relays.isOther(URL_, relayIdOf(two.public))).toBe(false);
  await expect(relays.linkTo(first as Relay)).rejects.toThrow(OtherRelay);
  expect(await relays.idOf(URL_)).toEqual(relayIdOf(two.public));
});

test("a relay whose key has changed is refused in words, and taken again once it is itself", async () => {
  const [known, other] = [generateKeyPair(), generateKeyPair()];
  let answering = other;
  const { relays } = relaysAt(() => answering);
  const id = relayIdOf(known.public);
  relays.at(URL_, id);
  await expect.poll(() => relays.isOther(URL_, id)).toBe(true);
  await expect(relays.idOf(URL_)).rejects.toThrow(OtherRelay);
  answering = known;
  relays.retryNow();
  await expect.poll(() => relays.stateOf(URL_, id)).toBe("online");
  expect(relays.isOther(URL_, id)).toBe(false);
});

test("each link has keys of its own: a relay does not know a browser again by them", async () => {
  const keys = generateKeyPair();
  const { relays, opened } = relaysAt(() => keys);
  const relay = relays.at(URL_, relayIdOf(keys.public));
  await expect.poll(() => opened.length).toBe(1);
  const before = relay.keys.public;
  relay.link?.close();
  await expect.poll(() => opened.length, { timeout: 10_000 }).toBe(2);
  expect(relay.keys.public).not.toEqual(before);
});

test("where the browser lets no page connect, the relay is away, and nothing waits for ever", async () => {
  const heard = { opened: async () => undefined, lost: () => undefined, frame: () => undefined };
  const relays = new Relays({ ...heard, changed: () => undefined }, () => {
    throw new DOMException("insecure", "SecurityError");
  });
  onTestFinished(() => relays.close());
  const relay = relays.at(URL_, new Uint8Array(32));
  await expect(relays.linkTo(relay)).rejects.toThrow(LinkLost);
  await expect(relays.idOf(URL_)).rejects.toThrow(LinkLost);
});

test("a link gets new keys before a day is over, though its relay would go on", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const keys = generateKeyPair();
  const { relays, opened } = relaysAt(() => keys);
  const relay = relays.at(URL_, relayIdOf(keys.public));
  const link = await relays.linkTo(relay);
  await vi.advanceTimersByTimeAsync(LIFETIME_MS - 1);
  expect(relay.link).toBe(link);
  await vi.advanceTimersByTimeAsync(2);
  expect((await link.closed).message).toMatch(/new keys/);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(opened).toHaveLength(2);
});

test("a relay that nobody needs any more is not connected to", async () => {
  const keys = generateKeyPair();
  const { relays, opened } = relaysAt(() => keys);
  const id = relayIdOf(keys.public);
  relays.at(URL_, id);
  await expect.poll(() => opened).toHaveLength(1);
  const { link } = opened[0] as Relay;
  relays.keepOnly((relay) => relay.url === URL_);
  expect(relays.stateOf(URL_, id)).toBe("online");
  relays.keepOnly(() => false);
  await link?.closed;
  const waiting = relays.linkTo(relays.at(URL_, id));
  relays.keepOnly(() => false); // while it connects
  await expect(waiting).rejects.toThrow(LinkLost);
  relays.retryNow();
  expect(relays.stateOf(URL_, id)).toBe("offline");
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(opened).toHaveLength(1);
});

test("a relay that closes each link at once is called less and less often", async () => {
  const keys = generateKeyPair();
  const { relays, opened } = relaysAt(() => keys);
  const relay = relays.at(URL_, relayIdOf(keys.public));
  const pauses: number[] = [];
  for (let count = 1; count <= 3; count += 1) {
    await expect.poll(() => opened.length).toBe(count);
    relay.link?.close();
    await expect.poll(() => relay.state).not.toBe("online");
    pauses.push(relay.pause);
    relays.retryNow();
  }
  expect(pauses).toEqual([1_000, 2_000, 4_000]);
  await expect.poll(() => opened.length).toBe(4);
  relay.openedAt -= 10_000; // it has lasted
  relay.link?.close();
  await expect.poll(() => relay.pause).toBe(1_000);
});
