/** The hub's signed words about the log: one of them, another of them, and what was delivered. */

import { expect, test } from "vitest";

import { makeHubMove } from "../src/client/moving.ts";
import { relayIdOf } from "../src/protocol/ids.ts";
import { generateKeyPair, signRecord } from "../src/themis/index.ts";
import { evidenceIn, following } from "./following.ts";
import { URL_ } from "./rooms.ts";

const relay = generateKeyPair();
const [here, there] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];

async function withHub(home?: Uint8Array) {
  const setting = await following({ hub: relayIdOf(relay.public), ...(home && { home }) });
  const { room, link, hear } = setting;
  Object.assign(link, { relayKey: relay.public });
  const head = (seq: number, log: Uint8Array, { by = relay, term = 0 } = {}) =>
    signRecord(by.private, { type: "log_head", v: 1, room: room.state.room, term, seq, log, ts: 5 })
      .envelope;
  const shows = (record: Uint8Array, key?: Uint8Array) => hear({ type: "head", key, record });
  return { ...setting, setting, head, shows };
}

test("two words about one entry freeze the room before that entry is here, and are kept", async () => {
  const { room, vault, head, shows } = await withHub();
  const [one, other] = [head(3, there), head(3, here)];
  await shows(head(2, here));
  await shows(one);
  expect(room.saved.status).toBe("active");
  await shows(other);
  expect([room.saved.status, room.saved.reason]).toEqual(["frozen", "log.equivocation 3"]);
  const kept = evidenceIn(vault, room.id);
  expect(kept).toHaveLength(2);
  expect(kept).toEqual(expect.arrayContaining([one, other]));
});

test("a word that overtakes its entry is held against it", async () => {
  for (const isTrue of [true, false]) {
    const { setting, room, vault, say, append, ana, deliver, head, shows } = await withHub();
    const { record, cell } = say(ana);
    append(record, cell);
    const word = head(2, isTrue ? setting.view.log.log : here);
    await shows(word);
    expect(room.saved.status).toBe("active");
    await deliver(record, cell);
    expect(room.saved.reason).toBe(isTrue ? "" : "log.fork 2");
    if (!isTrue) expect(evidenceIn(vault, room.id)).toContainEqual(word);
  }
});

test("what is no word of the hub's ends the link, and is told", async () => {
  const other = generateKeyPair();
  const cases = [
    (it: Awaited<ReturnType<typeof withHub>>) => it.head(1, here, { by: other }),
    (it: Awaited<ReturnType<typeof withHub>>) => it.head(1, here, { term: 1 }),
    () => new Uint8Array(9),
  ];
  for (const made of cases) {
    const setting = await withHub();
    await setting.shows(made(setting));
    expect(setting.link.isClosed).toBe(true);
    expect(setting.room.alarms[0]).toMatch(/^log.bad_head [01]$/);
    expect(setting.room.saved.status).toBe("active");
  }
});

test("a word by a key that may yet turn out to be the hub's is passed over", async () => {
  const other = generateKeyPair();
  const { room, link, head, shows } = await withHub();
  await shows(head(2, here, { by: other }), other.public);
  expect([link.isClosed, room.alarms]).toEqual([false, []]);
});

test("a word of a term that is to come is passed over until it is there", async () => {
  const { room, link, head, shows } = await withHub();
  await shows(head(5, here, { term: 2 })); // the room went, and came back to this relay
  expect([link.isClosed, room.alarms]).toEqual([false, []]);
});

test("what was said before the room went to another relay counts for nothing there", async () => {
  const next = relayIdOf(generateKeyPair().public);
  const { room, head, shows, deliver, append, making } = await withHub(next);
  await shows(head(2, here));
  const { envelope } = makeHubMove(making, { relayId: next, url: URL_ });
  append(envelope);
  await deliver(envelope);
  expect([room.lastSeq, room.saved.status]).toEqual([2, "active"]);
});
