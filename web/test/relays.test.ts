/** Relays are told apart by their keys, whatever address they answer at. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { OtherRelay, type Relay, Relays } from "../src/client/relays.ts";
import { relayIdOf } from "../src/protocol/ids.ts";
import { generateKeyPair } from "../src/themis/index.ts";
import { LIFETIME_MS, type Link, LinkLost } from "../src/wire/link.ts";
import { nobody, relaysAt } from "./greeters.ts";
import { URL_ } from "./rooms.ts";

test("of two relays known at one address, each has its own link, or none", async () => {
  const [one, two] = [generateKeyPair(), generateKeyPair()];
  const { relays, opened } = relaysAt(() => ({ keys: two }));
  const [first, second] = [one, two].map(({ public: key }) => relays.at(URL_, relayIdOf(key)));
  expect(first).not.toBe(second);
  expect(relays.at(URL_, relayIdOf(one.public))).toBe(first);
  await expect.poll(() => opened).toEqual([second]);
  await expect.poll(() => relays.stateOf(URL_, relayIdOf(one.public))).toBe("offline");
  expect(relays.stateOf(URL_, relayIdOf(two.public))).toBe("online");
  expect(relays.faultOf(URL_, relayIdOf(one.public))).toBe("unproven");
  expect(relays.faultOf(URL_, relayIdOf(two.public))).toBe(undefined);
  await expect(relays.linkTo(first as Relay)).rejects.toThrow(OtherRelay);
  expect(await relays.idOf(URL_)).toEqual(relayIdOf(two.public));
});

test("a relay whose key has changed is refused in words, and taken again once it is itself", async () => {
  const [known, other] = [generateKeyPair(), generateKeyPair()];
  let answering = other;
  const { relays } = relaysAt(() => ({ keys: answering }));
  const id = relayIdOf(known.public);
  relays.at(URL_, id);
  await expect.poll(() => relays.faultOf(URL_, id)).toBe("unproven");
  await expect(relays.idOf(URL_)).rejects.toThrow(OtherRelay);
  answering = known;
  relays.retryNow();
  await expect.poll(() => relays.stateOf(URL_, id)).toBe("online");
  expect(relays.faultOf(URL_, id)).toBe(undefined);
});

test("each link has keys of its own: a relay does not know a browser again by them", async () => {
  const keys = generateKeyPair();
  const { relays, opened } = relaysAt(() => ({ keys }));
  const relay = relays.at(URL_, relayIdOf(keys.public));
  await expect.poll(() => opened.length).toBe(1);
  const before = relay.keys.public;
  relay.link?.close();
  await expect.poll(() => opened.length, { timeout: 10_000 }).toBe(2);
  expect(relay.keys.public).not.toEqual(before);
});

test("where the browser lets no page connect, the relay is away, and nothing waits for ever", async () => {
  const relays = new Relays(nobody, () => {
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
  const { relays, opened } = relaysAt(() => ({ keys }));
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
  const { relays, opened } = relaysAt(() => ({ keys }));
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
  const { relays, opened } = relaysAt(() => ({ keys }));
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

test("a relay that has to be a certain one is taken for no other, and it may be", async () => {
  const [one, other] = [generateKeyPair(), generateKeyPair()].map(({ public: key }) => key);
  const keys = generateKeyPair();
  const { relays } = relaysAt(() => ({ keys }));
  const id = relayIdOf(keys.public);
  const refused = relays.idOf(URL_, relayIdOf(one as Uint8Array));
  await expect(refused).rejects.toMatchObject({ name: "OtherRelay", isPinned: true });
  expect(await relays.idOf(URL_, id)).toEqual(id);
  relays.at(URL_, id);
  await expect.poll(() => relays.stateOf(URL_, id)).toBe("online");
  expect(await relays.idOf(URL_, id)).toEqual(id);
  await expect(relays.idOf(URL_, relayIdOf(other as Uint8Array))).rejects.toThrow(OtherRelay);
});

test("a link that could not be made use of is closed, before there is another", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const keys = generateKeyPair();
  const links: Link[] = [];
  const { relays } = relaysAt(() => ({ keys }), {
    opened: async (_, link) => {
      links.push(link);
      throw new LinkLost("the relay shows what can be no control log");
    },
  });
  relays.at(URL_, relayIdOf(keys.public));
  await expect.poll(() => links.length).toBe(1);
  expect((await links[0]?.closed)?.message).toMatch(/closed by this side/);
  await vi.advanceTimersByTimeAsync(5_000);
  await expect.poll(() => links.length).toBeGreaterThan(1);
});

test("what is left of an earlier link ends no later one, and says nothing in its name", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const keys = generateKeyPair();
  const links: Link[] = [];
  const fails: ((reason: LinkLost) => void)[] = [];
  const heard: unknown[] = [];
  const { relays } = relaysAt(() => ({ keys }), {
    opened: (_, link) => {
      links.push(link);
      return new Promise((_resolve, reject) => fails.push(reject));
    },
    frame: (_, frame) => heard.push(frame),
  });
  const relay = relays.at(URL_, relayIdOf(keys.public));
  await expect.poll(() => links.length).toBe(1);
  links[0]?.close();
  await vi.advanceTimersByTimeAsync(5_000);
  await expect.poll(() => links.length).toBe(2);
  fails[0]?.(new LinkLost("it is over")); // what was going on over it comes to its end now
  await vi.advanceTimersByTimeAsync(5_000);
  expect([relay.link, relay.state, links.length]).toEqual([links[1], "online", 2]);
  const { options } = links[0] as unknown as { options: { onFrame(frame: object): void } };
  options.onFrame({ type: "done" });
  expect(heard).toEqual([]);
});
