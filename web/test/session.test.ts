/** The link's end, against a relay made of the same parts: order, replay, forgery, bulk. */

import { beforeEach, describe, expect, test } from "vitest";

import { Channel } from "../src/channel/channel.ts";
import { Malformed } from "../src/protocol/codes.ts";
import { encodeRelayFrame, type RelayFrame } from "../src/protocol/frames.ts";
import { relayIdOf, sha256, taggedHash } from "../src/protocol/ids.ts";
import { joinParts } from "../src/protocol/parts.ts";
import { ClientSession } from "../src/session/session.ts";
import {
  generateKey,
  generateKeyPair,
  type Lineage,
  lineage,
  NotItsKey,
  SessionError,
  seal,
} from "../src/themis/index.ts";
import { welcome } from "./greeters.ts";

const room = new Uint8Array(32).fill(7);
const relayKeys = () => generateKeyPair();

const welcomeBy = (version = 1): RelayFrame => ({ ...welcome, version, succession: [] });

const delivery = (seq: number): RelayFrame => ({
  type: "delivery",
  room,
  seq,
  record: Uint8Array.of(1),
  cell: Uint8Array.of(2),
});

/** A client and a relay past the handshake. */
function linked(known?: Lineage, keys = relayKeys()): { client: ClientSession; relay: Channel } {
  const client = new ClientSession(generateKeyPair(), known);
  const relay = new Channel(keys, () => true);
  const hello = relay.handshake(client.connect());
  const [proof] = client.receive(hello as Uint8Array).replies;
  const confirmation = relay.handshake(proof as Uint8Array);
  const [greeting] = client.receive(confirmation as Uint8Array).replies;
  relay.unwrap(greeting as Uint8Array);
  return { client, relay };
}

function open(): { client: ClientSession; relay: Channel } {
  const pair = linked();
  pair.client.receive(pair.relay.wrap([encodeRelayFrame(welcomeBy())]));
  expect(pair.client.state).toBe("open");
  return pair;
}

const message = (relay: Channel, ...frames: RelayFrame[]) =>
  relay.wrap(frames.map(encodeRelayFrame));

describe("the handshake", () => {
  test("proves the pinned relay, and no other", () => {
    const keys = relayKeys();
    const known = lineage(relayIdOf(keys.public));
    const right = linked(known, keys);
    expect(() => right.client.relay).toThrow(Malformed);
    right.client.receive(message(right.relay, welcomeBy()));
    expect(right.client.relay).toEqual(known);
    const wrong = linked(known);
    expect(() => wrong.client.receive(message(wrong.relay, welcomeBy()))).toThrow(NotItsKey);
    expect([wrong.client.fault, wrong.client.state]).toEqual(["unproven", "hello"]);
  });

  test("takes nothing before the welcome but a refusal, and that from the known relay", () => {
    const keys = relayKeys();
    const known = lineage(relayIdOf(keys.public));
    const refusal = { type: "failure", rid: 0, code: "quota", text: "full" } as RelayFrame;
    const right = linked(known, keys);
    expect(right.client.receive(message(right.relay, refusal)).frames).toHaveLength(1);
    const first = linked(known, keys);
    expect(() => first.client.receive(message(first.relay, delivery(1)))).toThrow(Malformed);
    const wrong = linked(known);
    expect(() => wrong.client.receive(message(wrong.relay, refusal))).toThrow(Malformed);
  });

  test("an empty confirmation is refused, which the core would take", () => {
    const client = new ClientSession(generateKeyPair(), undefined);
    const relay = new Channel(relayKeys(), () => true);
    client.receive(relay.handshake(client.connect()) as Uint8Array);
    const empty = Uint8Array.of(0x54, 0x53, 0x50, 0x4d, 0, 0, 0, 12, 0, 0, 0, 0);
    expect(() => client.receive(empty)).toThrow(SessionError);
  });

  test("an id that is longer than it says, or no key, is refused before the core sees it", () => {
    const client = new ClientSession(generateKeyPair(), undefined);
    const hello = new Channel(relayKeys(), () => true).handshake(client.connect()) as Uint8Array;
    hello[12 + 7] = 255;
    expect(() => client.receive(hello)).toThrow(SessionError);
  });

  test("a version that nobody offered is refused", () => {
    const { client, relay } = linked();
    expect(() => client.receive(message(relay, welcomeBy(2)))).toThrow(Malformed);
  });
});

describe("an open link", () => {
  let client: ClientSession;
  let relay: Channel;
  beforeEach(() => {
    ({ client, relay } = open());
  });

  test("carries frames in order", () => {
    const { frames } = client.receive(message(relay, delivery(1), delivery(2)));
    expect(frames).toEqual([delivery(1), delivery(2)]);
  });

  test.each([
    ["again", [0, 0]],
    ["swapped with the next", [1]],
    ["after one that was lost", [0, 2]],
  ])("takes no message %s, and nothing after it", (_, order) => {
    const messages = [1, 2, 3].map((seq) => message(relay, delivery(seq)));
    const last = order.pop() as number;
    for (const index of order) client.receive(messages[index] as Uint8Array);
    expect(() => client.receive(messages[last] as Uint8Array)).toThrow(/out of order/);
    expect(() => client.receive(messages[1] as Uint8Array)).toThrow(SessionError);
  });

  test("a changed message closes the session", () => {
    const changed = message(relay, delivery(1));
    changed[changed.length - 1] = (changed[changed.length - 1] as number) ^ 1;
    expect(() => client.receive(changed)).toThrow(SessionError);
    expect(() => client.send([{ type: "cursor", room, seq: 1 }])).toThrow(SessionError);
  });
});

describe("bulk", () => {
  const key = generateKey();
  const feedKey: RelayFrame = { type: "feed_key", room, number: 1, key };
  const part = seal(
    key,
    joinParts([encodeRelayFrame(delivery(1)), encodeRelayFrame(delivery(2))]),
    taggedHash("feed", room, 1),
  );
  const bulk: RelayFrame = { type: "bulk", room, number: 1, hash: sha256(part) };
  const raw = (...frames: RelayFrame[]) => frames.map(encodeRelayFrame);

  test("stands for its deliveries", () => {
    const { client, relay } = open();
    const { frames } = client.receive(relay.wrap(raw(feedKey, bulk), [part]));
    expect(frames).toEqual([delivery(1), delivery(2)]);
  });

  const other = seal(key, joinParts(raw(delivery(3))), taggedHash("feed", room, 1));
  const notDeliveries = seal(key, joinParts(raw(welcomeBy())), taggedHash("feed", room, 1));

  test.each<[string, RelayFrame[], Uint8Array[]]>([
    ["without its part", [feedKey, bulk], []],
    ["with a part too many", [feedKey, bulk], [part, part]],
    ["with another part", [feedKey, bulk], [other]],
    ["without its key", [bulk], [part]],
    ["of another number", [feedKey, { ...bulk, number: 2 }], [part]],
    ["of another room", [feedKey, { ...bulk, room: new Uint8Array(32) }], [part]],
    ["of other frames", [feedKey, { ...bulk, hash: sha256(notDeliveries) }], [notDeliveries]],
  ])("%s is refused", (_, frames, trailer) => {
    const { client, relay } = open();
    expect(() => client.receive(relay.wrap(raw(...frames), trailer))).toThrow(Malformed);
  });
});
