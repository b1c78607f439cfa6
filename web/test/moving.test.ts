/** A member who goes to another relay, and what its browser makes of HOME in the log. */

import "fake-indexeddb/auto";
import { expect, test, vi } from "vitest";
import { makeHome, type Place } from "../src/client/moving.ts";
import { Room } from "../src/client/room.ts";
import { newRoom, savedRoom } from "../src/client/saved.ts";
import { Turn } from "../src/client/vault.ts";
import { seenOf } from "../src/e2e/log.ts";
import { makeRekey } from "../src/e2e/rekeying.ts";
import { FakeLink, founded, RELAY_ID, refusal, URL_ } from "./rooms.ts";

const OTHER: Place = { url: "ws://other.example", relayId: new Uint8Array(32).fill(9) };

/** Root's room, as it is reached by what is `given`, at a relay that attaches as it is told. */
async function reached(given: object, answer?: Error) {
  const { vault, view, id } = await founded();
  const turn = new Turn(vault);
  const saved = newRoom({ room: view.state.room, url: URL_, relayId: RELAY_ID, ...given });
  turn.put("rooms", id, savedRoom.write(saved));
  await vault.commit(turn);
  const moved = vi.fn();
  const room = new Room(vault, id, () => undefined, moved);
  const { seq, log } = view.log;
  const fake = new FakeLink(({ type }) => {
    if (type === "attach") return answer ?? { type: "attached", seq, log, cursor: 0, counter: 0 };
    if (type === "sync") return { type: "synced", start: 2, floor: 0, head: 1, log };
    return { type: "done" };
  });
  await room.attach(fake.link, view.mine.sign.public);
  const making = { state: view.state, mine: view.mine, seen: seenOf(view.log), now: 1 };
  const deliver = async (record: Uint8Array) => {
    const cell = new Uint8Array();
    room.receive({ type: "delivery", room: room.state.room, seq: 2, record, cell });
    await room.markRead(room.saved.readUpTo + 1);
  };
  const places = () => [room.url, room.hubUrl];
  return { room, view, making, moved, fake, deliver, places };
}

test("once HOME stands in the log, and not before, the room is reached at the relay it names", async () => {
  const { room, making, moved, deliver, places } = await reached({ moving: OTHER });
  expect(places()).toEqual([URL_, URL_]);
  await deliver(makeHome(making, OTHER.relayId).envelope);
  expect(places()).toEqual([OTHER.url, URL_]);
  expect([room.relayId, room.saved.moving]).toEqual([OTHER.relayId, undefined]);
  expect(moved).toHaveBeenCalledOnce();
  expect(moved.mock.calls[0]?.[0]).toMatchObject({ url: URL_ });
});

test("a HOME that this browser did not ask for leads to the room's own relay, and is told", async () => {
  const given = {
    ...OTHER,
    hubUrl: URL_,
    moving: { ...OTHER, relayId: new Uint8Array(32).fill(3) },
  };
  const { room, making, deliver, places } = await reached(given);
  expect(places()).toEqual([OTHER.url, URL_]);
  await deliver(makeHome(making, new Uint8Array(32).fill(4)).envelope);
  expect([room.relayId, ...places()]).toEqual([RELAY_ID, URL_, URL_]);
  expect(room.alarm).toBe("home_unknown");
});

test("somebody else's HOME moves nobody here; neither does any other record", async () => {
  const { making, view, moved, deliver, places } = await reached({ moving: OTHER });
  await deliver(makeRekey(making, view.keys).signed.envelope);
  expect(places()).toEqual([URL_, URL_]);
  expect(moved).not.toHaveBeenCalled();
});

test("a relay that has seen one's HOME first sends one on; its word alone sends nobody", async () => {
  const away = { ...OTHER, hubUrl: URL_ };
  const wrong = refusal("wrong_relay");
  const told = await reached(
    { ...away, moving: { url: "ws://third", relayId: OTHER.relayId } },
    wrong,
  );
  expect(told.places()).toEqual([URL_, URL_]);
  expect(told.moved).toHaveBeenCalledOnce();
  const stays = await reached(away, wrong);
  expect(stays.places()).toEqual([OTHER.url, URL_]);
  expect(stays.room.refusal).not.toBe("");
});

test("who goes to another relay takes the room off the link of the one before", async () => {
  const { room, fake } = await reached({});
  room.leaveLink();
  expect(fake.of("detach")).toHaveLength(1);
  expect([room.isLive, fake.isClosed]).toEqual([false, false]);
});
