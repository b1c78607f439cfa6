/** A member who goes to another relay, and what its browser makes of HOME in the log. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";
import { Client } from "../src/client/client.ts";
import { RoomCore } from "../src/client/core.ts";
import { makeHome, makeHubMove, type Place } from "../src/client/moving.ts";
import { Room } from "../src/client/room.ts";
import { json, newRoom, savedRoom, savedState } from "../src/client/saved.ts";
import { told } from "../src/client/told.ts";
import { Turn } from "../src/client/vault.ts";
import type { Making } from "../src/e2e/controls.ts";
import { parseLink } from "../src/e2e/invites.ts";
import { type MemberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { seenOf } from "../src/e2e/log.ts";
import { makeRekey } from "../src/e2e/rekeying.ts";
import { take } from "../src/e2e/view.ts";
import { hex } from "../src/protocol/bytes.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { hubOf, type Member } from "../src/protocol/room.ts";
import { peek } from "../src/themis/index.ts";
import { Link, LinkLost } from "../src/wire/link.ts";
import { FakeLink, founded, passes, RELAY_ID, refusal, URL_, withMember } from "./rooms.ts";

const OTHER: Place = { url: "ws://other.example", relayId: new Uint8Array(32).fill(9) };
const NONE = new Uint8Array();

/** Another member, in a room of two. */
const BO = newMemberKeys();

/**
 * Root's room with Bo in it, as it is reached by what is `given`, at a relay that attaches as it is
 * told. Root is at home at `home`.
 */
async function reached(
  given: object,
  answer?: Error,
  control?: object,
  home: Uint8Array = RELAY_ID,
) {
  const { vault, view: alone, id, code } = await founded();
  const both = { ...alone, state: withMember(alone, BO) };
  const view = { ...alone, state: withMember(both, alone.mine, { role: "root", home }) };
  const turn = new Turn(vault);
  const saved = newRoom({ room: view.state.room, url: URL_, relayId: RELAY_ID, ...given });
  turn.put("rooms", id, savedRoom.write(saved));
  turn.put(`room/${id}`, "state", savedState.write(view.state));
  turn.put(`tokens/${id}`, hex(code.inviteId), code.token);
  await vault.commit(turn);
  const moved = vi.fn();
  const room = new Room(vault, id, () => undefined, { moved });
  const { seq, log } = view.log;
  const fake = new FakeLink(({ type }) => {
    if (type === "attach") return answer ?? { type: "attached", seq, log, cursor: 0, counter: 0 };
    if (type === "sync") return { type: "synced", start: 2, floor: 0, head: 1, log };
    return type === "control" && control !== undefined ? control : { type: "done" };
  });
  await room.attach(fake.link, view.mine.sign.public);
  const { core } = room as unknown as { core: RoomCore };
  const makingOf = (mine: MemberKeys): Making => {
    const { state, log } = core.view;
    return { state, mine, seen: seenOf(log), now: 1 };
  };
  const making = makingOf(view.mine);
  const deliver = async (record: Uint8Array) => {
    const { state, lastSeq } = room;
    room.receive({ type: "delivery", room: state.room, seq: lastSeq + 1, record, cell: NONE });
    await room.markRead(room.saved.readUpTo + 1);
  };
  const places = () => [room.url, room.hubUrl];
  return { room, core, vault, view, making, makingOf, moved, fake, deliver, places };
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
  expect(room.alarms).toEqual(["home_unknown"]);
});

test("once one is at home at a relay that is known, nobody is told any more that it is not", async () => {
  const { room, core, makingOf, view, deliver, places } = await reached({});
  const reloaded = () => new RoomCore(core.vault, core.id, () => undefined).alarms.all;
  await deliver(makeHome(makingOf(view.mine), new Uint8Array(32).fill(4)).envelope);
  expect([room.alarms, reloaded()]).toEqual([["home_unknown"], ["home_unknown"]]);
  await deliver(makeHome(makingOf(view.mine), RELAY_ID).envelope);
  expect([room.alarms, reloaded(), ...places()]).toEqual([[], [], URL_, URL_]);
});

test("any other alarm outlives a HOME", async () => {
  const { room, core, making, deliver } = await reached({ moving: OTHER });
  core.alarms.raise(told("unproven"));
  await deliver(makeHome(making, OTHER.relayId).envelope);
  expect([room.url, room.alarms]).toEqual([OTHER.url, ["unproven"]]);
});

test.each([
  ["where one asked to go oneself", { moving: OTHER }, RELAY_ID],
  ["where one is at home, and went to the hub only because that was gone", {}, OTHER.relayId],
])("somebody else's HOME moves nobody here: %s", async (_, given, home) => {
  const { room, makingOf, moved, deliver, places } = await reached(
    given,
    undefined,
    undefined,
    home,
  );
  await deliver(makeHome(makingOf(BO), OTHER.relayId).envelope);
  expect(room.state.members.get(hex(BO.mid))?.home).toEqual(OTHER.relayId);
  expect([...places(), room.alarms, room.saved.moving]).toEqual([
    URL_,
    URL_,
    [],
    "moving" in given ? OTHER : undefined,
  ]);
  expect(moved).not.toHaveBeenCalled();
});

test("no record but HOME and HUB_MOVE moves anybody", async () => {
  const { room, making, view, moved, deliver, places } = await reached({ moving: OTHER });
  await deliver(makeRekey(making, view.keys).signed.envelope);
  expect([room.epoch, ...places()]).toEqual([1, URL_, URL_]);
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

/** The client of such a room as its page is opened, with relays that share one log. */
async function opened(isSaid: boolean) {
  const { vault, view, id } = await founded();
  const turn = new Turn(vault);
  const saved = newRoom({ room: view.state.room, url: URL_, relayId: RELAY_ID, moving: OTHER });
  turn.put("rooms", id, savedRoom.write(saved));
  await vault.commit(turn);
  const entries = [seenOf(view.log)];
  const said: Uint8Array[] = [];
  const say = (record: Uint8Array) => {
    said.push(record);
    entries.push(seenOf(take(view, 2, record).view.log));
  };
  const making = { state: view.state, mine: view.mine, seen: seenOf(view.log), now: 1 };
  if (isSaid) say(makeHome(making, OTHER.relayId).envelope);
  const asked: string[] = [];
  const open = vi.spyOn(Link, "open").mockImplementation(async ({ url, onFrame }) => {
    const { room } = view.state;
    const end = () => entries.at(-1) as (typeof entries)[number];
    const deliver = () =>
      onFrame({ type: "delivery", room, seq: 2, record: said[0] as Uint8Array, cell: NONE });
    return new FakeLink((request) => {
      asked.push(`${url} ${request.type}`);
      if (request.type === "attach") return { type: "attached", ...end(), cursor: 0, counter: 0 };
      if (request.type === "sync") {
        if (request.start === 2 && said.length > 0) queueMicrotask(deliver);
        return { type: "synced", start: request.start, floor: 0, head: end().seq, log: end().log };
      }
      if (request.type !== "control") return { type: "done" };
      say(request.record);
      queueMicrotask(deliver);
      return { type: "ack", ...end() };
    }).link;
  });
  const client = new Client(vault);
  onTestFinished(async () => {
    await client.close();
    open.mockRestore();
  });
  client.start();
  return { room: client.room(id) as Room, asked };
}

test.each([false, true])(
  "a move that was cut short goes on when the page is opened; HOME stood in the log: %s",
  async (isSaid) => {
    const { room, asked } = await opened(isSaid);
    await expect.poll(() => room.url === OTHER.url && room.isLive, { timeout: 10_000 }).toBe(true);
    expect([room.relayId, room.hubUrl, room.saved.moving]).toEqual([
      OTHER.relayId,
      URL_,
      undefined,
    ]);
    expect(room.state.members.get(room.me)?.home).toEqual(OTHER.relayId);
    const controls = asked.filter((what) => what.endsWith(" control"));
    expect(controls).toEqual(isSaid ? [] : [`${URL_} control`]);
  },
);

test("a move that is refused is over; one whose room is frozen meanwhile is not", async () => {
  const { room } = await reached({}, undefined, refusal("forbidden"));
  await expect(room.moveHome(OTHER)).rejects.toThrow("forbidden");
  expect([room.saved.moving, room.url]).toEqual([undefined, URL_]);
  room.detach();
  const moving = room.moveHome(OTHER).catch((error: Error) => error.name);
  await expect.poll(() => room.saved.moving).toEqual(OTHER);
  const { core } = room as unknown as { core: RoomCore };
  await core.enqueue(() => core.freeze(told("two_logs", 1), 1));
  expect([await moving, room.saved.moving]).toEqual(["RoomOver", OTHER]);
});

test("who chooses another relay before the first move is through goes there alone", async () => {
  const { room, fake, view } = await reached({});
  room.detach();
  const third: Place = { url: "ws://third.example", relayId: new Uint8Array(32).fill(3) };
  const moves = [room.moveHome(OTHER), room.moveHome(third)];
  await expect.poll(() => room.saved.moving).toEqual(third);
  await room.attach(fake.link, view.mine.sign.public);
  await Promise.all(moves);
  const homes = fake.asked.map((request) =>
    request.type === "control" ? (peek(request.record).record as RecordOf<"home">).home : undefined,
  );
  expect(homes.filter((home) => home !== undefined)).toEqual([third.relayId]);
});

test("a move of the room that was put off is over once another relay is chosen", async () => {
  const there = await reached({}, undefined, refusal("hub_away"), THIRD.relayId);
  const { room, fake } = there;
  onTestFinished(() => room.close());
  await there.deliver(makeHome(there.makingOf(BO), OTHER.relayId).envelope);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const hubs = () =>
    fake.asked.flatMap((request) =>
      request.type === "control"
        ? [(peek(request.record).record as RecordOf<"hub_move">).urls[0]]
        : [],
    );
  const first = room.moveHub(OTHER).catch((error: Error) => error.message);
  await expect.poll(hubs).toEqual([OTHER.url]);
  const second = room.moveHub(THIRD).catch((error: Error) => error.message);
  await passes(600_000, 5_000);
  expect(await Promise.all([first, second])).toEqual(["conflict", "refused: hub_away"]);
  expect(hubs()).toEqual([OTHER.url, ...Array(8).fill(THIRD.url)]);
});

test("a page that is opened offline while a move is pending forgets no relay", async () => {
  const { vault, view, id } = await founded();
  const { mine, state } = view;
  const me = hex(mine.mid);
  const member = { ...(state.members.get(me) as Member), home: OTHER.relayId };
  const third: Place = { url: "ws://third.example", relayId: new Uint8Array(32).fill(3) };
  const turn = new Turn(vault);
  const members = new Map([...state.members, [me, member]]);
  turn.put(`room/${id}`, "state", savedState.write({ ...state, members }));
  const saved = newRoom({ room: state.room, ...OTHER, hubUrl: URL_, moving: third });
  turn.put("rooms", id, savedRoom.write(saved));
  await vault.commit(turn);
  const open = vi.spyOn(Link, "open").mockRejectedValue(new LinkLost("offline"));
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  const client = new Client(vault);
  onTestFinished(async () => {
    vi.useRealTimers();
    await client.close();
    open.mockRestore();
  });
  client.start();
  for (let second = 0; second < 60; second += 1) await vi.advanceTimersByTimeAsync(1_000);
  const room = client.room(id) as Room;
  expect([room.url, room.relayId, room.saved.moving]).toEqual([OTHER.url, OTHER.relayId, third]);
  expect(new Set(open.mock.calls.map(([{ url }]) => url))).toEqual(new Set([OTHER.url]));
});

/** A room that its root moves to `OTHER`, where Bo is at home, from its relay at `url`. */
async function moving(given: object, home: Uint8Array, hub: Place = OTHER) {
  const there = await reached(
    { url: "wss://relay.example.org", ...given },
    undefined,
    undefined,
    home,
  );
  await there.deliver(makeHome(there.makingOf(BO), hub.relayId).envelope);
  await there.deliver(makeHubMove(there.makingOf(there.view.mine), hub).envelope);
  expect(hubOf(there.room.state)).toEqual(hub.relayId);
  return there;
}

const PUBLIC: Place = { ...OTHER, url: "wss://other.example.org" };
const HERE = "wss://relay.example.org";
const THIRD: Place = { url: "wss://third.example.org", relayId: new Uint8Array(32).fill(3) };

test("a room moves: who is at home at the hub of before stays there, and knows where the new one is", async () => {
  const { room, moved, places } = await moving({}, RELAY_ID, PUBLIC);
  expect([...places(), room.isAway]).toEqual([HERE, PUBLIC.url, true]);
  expect(moved).not.toHaveBeenCalled();
});

test("who was at the hub of before only because it was the hub goes along", async () => {
  const { room, moved, places } = await moving({}, THIRD.relayId, PUBLIC);
  expect([...places(), room.relayId]).toEqual([PUBLIC.url, PUBLIC.url, PUBLIC.relayId]);
  expect([room.isAway, room.saved.hubUrl]).toEqual([false, ""]);
  expect(moved).toHaveBeenCalledOnce();
});

test("who is at home elsewhere stays there", async () => {
  const { room, moved, places } = await moving({ ...THIRD, hubUrl: HERE }, THIRD.relayId, PUBLIC);
  expect([...places(), room.relayId]).toEqual([THIRD.url, PUBLIC.url, THIRD.relayId]);
  expect(moved).not.toHaveBeenCalled();
});

test("who reaches the new hub already does so by the same address", async () => {
  const url = "wss://another-name.example.org";
  const { room, moved } = await moving({ ...PUBLIC, url, hubUrl: HERE }, PUBLIC.relayId, PUBLIC);
  expect([room.url, room.hubUrl, room.saved.hubUrl, room.isAway]).toEqual([url, url, "", false]);
  expect(moved).not.toHaveBeenCalled();
});

test("nobody is sent into a private network; where the room went is known all the same", async () => {
  const hub = { ...OTHER, url: "ws://192.168.1.5:5200" };
  const { room, moved, places } = await moving({}, THIRD.relayId, hub);
  expect([...places(), room.relayId]).toEqual([HERE, hub.url, RELAY_ID]);
  expect(moved).not.toHaveBeenCalled();
});

test("who is at home where the room went is not told any more that this is unknown", async () => {
  const there = await reached({ url: HERE }, undefined, undefined, THIRD.relayId);
  await there.room.settleHome();
  expect(there.room.alarms).toEqual(["home_unknown"]);
  await there.deliver(makeHubMove(there.makingOf(there.view.mine), THIRD).envelope);
  expect([there.room.alarms, there.room.url]).toEqual([[], THIRD.url]);
});

test("the tokens of invites that ended with the move are forgotten; a later link leads to the new hub", async () => {
  const { room, core, vault } = await moving({}, RELAY_ID, PUBLIC);
  expect([vault.items(core.tables.tokens), room.invites()]).toEqual([[], []]);
  const code = parseLink(await room.invite({ expires: Date.now() + 9e6 }));
  expect([code.relayUrl, code.relayId]).toEqual([PUBLIC.url, PUBLIC.relayId]);
});

test("an invite that was being opened when the room moved is opened at the new hub", async () => {
  const never = new Promise(() => undefined);
  const there = await reached({ url: HERE }, undefined, never);
  const { room, core, vault, view, deliver, makingOf } = there;
  const [before] = vault.items(core.tables.tokens);
  void room.invite({ expires: Date.now() + 9e6 }).catch(() => undefined);
  await expect.poll(() => vault.items(core.tables.tokens).length).toBe(2);
  await deliver(makeHome(makingOf(BO), PUBLIC.relayId).envelope);
  await deliver(makeHubMove(makingOf(view.mine), PUBLIC).envelope);
  const left = vault.items(core.tables.tokens);
  expect(left).toHaveLength(1);
  expect(left).not.toContainEqual(before);
});

test("who was answered under an invite that ended with the move is still to be shut out", async () => {
  const there = await reached({ url: HERE });
  const { room, core, view, deliver, makingOf } = there;
  const [[id] = [""]] = [...room.state.invites];
  const kept = { request: "", response: "", epoch: 0, answeredAt: Date.now() };
  await core.change(({ turn }) => turn.put(core.tables.admits, id, json.write(kept)));
  await deliver(makeHome(makingOf(BO), PUBLIC.relayId).envelope);
  await deliver(makeHubMove(makingOf(view.mine), PUBLIC).envelope);
  expect(room.state.boxedDue).toBe(true);
  expect(core.vault.items(core.tables.admits).map(([one]) => one)).toEqual([id]);
});
