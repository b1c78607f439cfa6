/** How relays come to their keys: the same is followed here as in Python, and people are told. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test } from "vitest";

import { Client } from "../src/client/client.ts";
import type { RoomCore } from "../src/client/core.ts";
import { lineageIn } from "../src/client/lineages.ts";
import { makeHubMove } from "../src/client/moving.ts";
import { RelayKeys } from "../src/client/relaykeys.ts";
import { OtherRelay, type RelayListeners } from "../src/client/relays.ts";
import { Room } from "../src/client/room.ts";
import { newRoom } from "../src/client/saved.ts";
import { ROOMS, saveNewRoom } from "../src/client/tables.ts";
import { Turn, type Vault } from "../src/client/vault.ts";
import { makeGenesis } from "../src/e2e/genesis.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { seenOf } from "../src/e2e/log.ts";
import { fromHex } from "../src/protocol/bytes.ts";
import type { RelayFrame } from "../src/protocol/frames.ts";
import { relayIdOf } from "../src/protocol/ids.ts";
import {
  generateKeyPair,
  type KeyPair,
  type Lineage,
  merged,
  NotItsKey,
  openedBy,
  proven,
  recalled,
  signRecord,
  TwoSuccessors,
} from "../src/themis/index.ts";
import { type Greeter, relaysAt, socketTo } from "./greeters.ts";
import { FakeLink, newVault, URL_, withMember } from "./rooms.ts";
import { type Vector, vectors } from "./vectors.ts";

const file = vectors("successions");
const all = (raw: readonly string[]) => raw.map(fromHex);
const knownIn = ({ relay_id, statements }: Vector): Lineage =>
  recalled(fromHex(relay_id), all(statements));

function outcome(known: Lineage, key: Uint8Array, shown: readonly Uint8Array[]): number | string {
  try {
    return proven(known, key, shown).statements.length;
  } catch (error) {
    return error instanceof TwoSuccessors ? "two_successors" : "refused";
  }
}

test.each(file.cases as Vector[])("$why: $found", ({ known, key, shown, found }) => {
  expect(outcome(knownIn(known), fromHex(key), all(shown))).toBe(found);
});

test.each(file.heads as Vector[])("a word by $why counts: $counts", ({ key, record, counts }) => {
  const open = () => openedBy(knownIn(file.heads_of), fromHex(key), fromHex(record));
  if (counts) expect(open().record.type).toBe("log_head");
  else expect(open).toThrow();
});

/** A SUCCESSION of this relay's, from one key to the next. */
function step(relayId: Uint8Array, number: number, old: KeyPair, next: KeyPair): Uint8Array {
  const fields = { v: 1, relay_id: relayId, number, key: old.public };
  const accept = signRecord(next.private, { type: "succession_accept", ...fields }).envelope;
  const said = { type: "succession", ...fields, next_key: next.public, ts: 1, accept } as const;
  return signRecord(old.private, said).envelope;
}

const [first, second, third, other] = [1, 2, 3, 4].map(() => generateKeyPair()) as [
  KeyPair,
  KeyPair,
  KeyPair,
  KeyPair,
];
const relayId = relayIdOf(first.public);
const one = step(relayId, 1, first, second);
const two = step(relayId, 2, second, third);
const fork = step(relayId, 1, first, other);
const longFork = [fork, step(relayId, 2, other, third)];
const hubId = relayIdOf(other.public);
const ofHub = step(hubId, 1, other, second);

test("what was verified apart is put together: the longer stays, and where they part it is proof", () => {
  const [none, short, long] = [[], [one], [one, two]].map((way) => recalled(relayId, way)) as [
    Lineage,
    Lineage,
    Lineage,
  ];
  for (const known of [none, short, long]) expect(merged(known, long)).toEqual(long);
  expect(merged(short, recalled(relayId, [step(relayId, 1, first, second)]))).toBe(short);
  for (const known of [short, long]) {
    for (const way of [[fork], longFork]) {
      const parting = expect.objectContaining({ fault: "two_successors", branch: [fork] });
      expect(() => merged(known, recalled(relayId, way))).toThrow(parting);
    }
    const behind = expect.objectContaining({ fault: "superseded" });
    expect(() => merged(known, none)).toThrow(behind);
  }
});

test("what is known costs no verification when it is said anew: nothing of that is opened", () => {
  const known = recalled(relayId, [one, two]);
  const broken = (raw: Uint8Array) => raw.with(-1, (raw.at(-1) as number) ^ 1);
  const anew = [broken(step(relayId, 1, first, second)), broken(two)];
  expect(proven(known, third.public, anew)).toBe(known);
  const short = recalled(relayId, [one]);
  expect(proven(short, third.public, [broken(one), two])).toEqual(known);
  expect(() => proven(short, third.public, [one, broken(two)])).toThrow("bad signature");
  expect(() => proven(known, third.public, [broken(fork)])).toThrow("bad signature");
});

/** A vault with a room at the relay, and at each of these addresses of its; Bo is at home at `hubId`. */
async function withRoom(...urls: string[]): Promise<Vault> {
  const vault = await newVault();
  const turn = new Turn(vault);
  for (const url of [URL_, ...urls]) {
    const { view } = makeGenesis(newMemberKeys(), relayId, Date.now());
    const state = withMember(view, newMemberKeys(), { home: hubId });
    const saved = newRoom({ room: state.room, url, relayId });
    saveNewRoom(turn, saved, { ...view, state });
  }
  await vault.commit(turn);
  return vault;
}

/** A client whose room's relay is who answers; `turn` has another one answer from now on. */
async function started(greeter: Greeter) {
  let answering = greeter;
  let socket: ReturnType<typeof socketTo> | undefined;
  const makeSocket = () => {
    socket = socketTo(answering);
    return socket;
  };
  const client = new Client(await withRoom(), { makeSocket });
  onTestFinished(() => client.close());
  client.start();
  const [room] = client.allRooms();
  if (room === undefined) throw new Error("the vault has no room");
  const turn = (to: Greeter) => {
    answering = to;
    socket?.onclose?.({} as never);
    client.retryNow();
  };
  const isAt = (state: string) => expect.poll(() => client.stateOf(room)).toBe(state);
  await isAt("online");
  const known = (id = relayId) => lineageIn(client.vault)(id);
  const push: ReturnType<typeof socketTo>["push"] = (...frames) => socket?.push(...frames);
  return { client, room, turn, isAt, known, push };
}

/** What is kept of keys in this vault, as its client keeps it, and what it tells of the first room. */
function keeping(vault: Vault) {
  const [[id] = [""]] = vault.items(ROOMS);
  const room = new Room(vault, id, () => undefined);
  onTestFinished(() => room.close());
  const rooms = new Map([[room.id, room]]);
  const keys = new RelayKeys(vault, rooms, () => undefined);
  const by = new FakeLink(() => undefined);
  const relay = { url: URL_, relayId, link: by.link };
  const show = (relay_id: Uint8Array, ...records: Uint8Array[]) =>
    keys.shown(relay, { type: "successions", relay_id, records });
  const known = (id = relayId) => lineageIn(vault)(id).statements;
  const told = () => [keys.newsOf(room), keys.alarmsOf(room).join()];
  return { keys, room, rooms, by, show, known, told };
}

test("a relay's new key is followed, kept, and told once", async () => {
  const { client, room, turn, isAt, known } = await started({ keys: first });
  expect(client.newsOf(room)).toBe("");
  turn({ keys: third, shown: [one, two] });
  await expect.poll(() => client.newsOf(room)).toBe(`relay_key_new ${URL_}`);
  await isAt("online");
  expect(known().statements).toEqual([one, two]);
  await client.dismissNews(room);
  turn({ keys: third, shown: [one, two] });
  await isAt("online");
  expect([client.newsOf(room), client.troubleOf(room)]).toEqual(["", ""]);
});

test("who has a room there is told, though no key was ever noted, once", async () => {
  const vault = await withRoom();
  const { keys, room, known, told } = keeping(vault);
  await keys.proven(recalled(relayId, [one]));
  const again = keeping(vault);
  expect([known(), told(), again.told()]).toEqual([
    [one],
    [`relay_key_new ${URL_}`, ""],
    [`relay_key_new ${URL_}`, ""],
  ]);
  await keys.dismissNews(room);
  await again.keys.proven(recalled(relayId, [one]));
  expect(again.told()).toEqual(["", ""]);
});

test("who comes later is told nothing, and knows as much", async () => {
  const makeSocket = () => socketTo({ keys: second, shown: [one] });
  const client = new Client(await newVault(), { makeSocket });
  onTestFinished(() => client.close());
  const id = await client.create({ url: URL_, name: "", myName: "" });
  const room = client.room(id) as Room;
  await expect.poll(() => client.stateOf(room)).toBe("online");
  expect(room.relayId).toEqual(relayId);
  expect([client.newsOf(room), lineageIn(client.vault)(relayId).statements]).toEqual(["", [one]]);
});

test("nobody comes to a relay that shows another line than is known of it", async () => {
  const vault = await newVault();
  await new RelayKeys(vault, new Map(), () => undefined).proven(recalled(relayId, [one]));
  const client = new Client(vault, {
    makeSocket: () => socketTo({ keys: third, shown: longFork }),
  });
  onTestFinished(() => client.close());
  const made = client.create({ url: URL_, name: "", myName: "" });
  await expect(made).rejects.toThrow(OtherRelay);
  expect(client.allRooms()).toEqual([]);
  expect(lineageIn(vault)(relayId).statements).toEqual([one]);
});

test("of two ways that are shown at one time, the first is taken, and the other one is told", async () => {
  const { show, known, told } = keeping(await withRoom());
  await Promise.all([show(relayId, one), show(relayId, ...longFork)]);
  expect([known(), told()]).toEqual([[one], [`relay_key_new ${URL_}`, `relay_key_two ${URL_}`]]);
});

test("what is learnt at one time is kept, all of it", async () => {
  const { keys, known, told } = keeping(await withRoom());
  await Promise.all([
    keys.disputed(new TwoSuccessors(relayId, [fork])),
    keys.proven(recalled(relayId, [one])),
    keys.disputed(new TwoSuccessors(relayId, [one])),
    keys.proven(recalled(relayId, [one, two])),
  ]);
  expect([known(), told()[1]]).toEqual([[one, two], `relay_key_two ${URL_}`]);
});

test("of two links that are opened at one time, by two successors, one is used", async () => {
  const elsewhere = "ws://elsewhere.example";
  const makeSocket = (url: string) =>
    socketTo(url === URL_ ? { keys: second, shown: [one] } : { keys: third, shown: longFork });
  const client = new Client(await withRoom(elsewhere), { makeSocket });
  onTestFinished(() => client.close());
  client.start();
  const rooms = client.allRooms();
  const states = () => rooms.map((room) => client.stateOf(room)).sort();
  await expect.poll(states).toEqual(["offline", "online"]);
  const [used, refused] = ["online", "offline"].map((state) =>
    rooms.find((room) => client.stateOf(room) === state),
  ) as [Room, Room];
  expect(client.troubleOf(refused)).toBe(`relay_key_two ${refused.url}`);
  await expect.poll(() => client.alarmsOf(used)).toEqual([`relay_key_two ${used.url}`]);
  const known = lineageIn(client.vault)(relayId).statements;
  expect(known).toEqual(used.url === URL_ ? [one] : longFork);
});

test.each<[string, Greeter, string]>([
  ["a replaced key", { keys: first }, "relay_key_old"],
  ["a replaced key, with the statements", { keys: first, shown: [one] }, "relay_key_old"],
  ["a key that nothing leads to", { keys: other }, "other_relay"],
  ["a key that another one's statements lead to", { keys: other, shown: [one] }, "other_relay"],
  ["a second successor", { keys: other, shown: [fork] }, "relay_key_two"],
])("%s is refused in words, until the relay is itself again", async (_, greeter, code) => {
  const { client, room, turn, isAt, known } = await started({ keys: second, shown: [one] });
  turn(greeter);
  await expect.poll(() => client.troubleOf(room)).toBe(`${code} ${URL_}`);
  await isAt("offline");
  expect(known().statements).toEqual([one]);
  turn({ keys: third, shown: [one, two] });
  await isAt("online");
  expect(client.troubleOf(room)).toBe("");
});

test("a second successor is told in the room, until it is read, and once", async () => {
  const { client, room, turn } = await started({ keys: second, shown: [one] });
  turn({ keys: other, shown: [fork] });
  const alarm = `relay_key_two ${URL_}`;
  await expect.poll(() => client.alarmsOf(room)).toEqual([alarm]);
  expect(keeping(client.vault).told()[1]).toBe(alarm);
  await client.dismissAlarm(room, alarm);
  client.retryNow();
  await expect.poll(() => client.stateOf(room)).toBe("offline");
  expect([client.alarmsOf(room), keeping(client.vault).told()[1]]).toEqual([[], ""]);
});

const removed = { type: "removed", room: hubId, code: "left", record: one } as const;
const failure = { type: "failure", rid: 0, code: "quota", text: "full" } as RelayFrame;

/** The relay of this id at what this greeter answers at, once it is away; and the frames taken of it. */
async function away(greeter: Greeter, listeners: Partial<RelayListeners> = {}) {
  const frames: unknown[] = [];
  const frame = (_: unknown, frame: unknown) => frames.push(frame);
  const { relays } = relaysAt(() => greeter, { frame, ...listeners });
  const relay = relays.at(URL_, relayId);
  await expect.poll(() => relay.state).toBe("offline");
  return [relay.link, relay.fault, frames];
}

test.each<[string, Greeter]>([
  ["another frame than a welcome", { keys: first, before: [removed] }],
  ["a refusal by another key", { keys: other, before: [failure] }],
])("%s at first is not taken: the link is closed", async (_, greeter) => {
  expect(await away(greeter)).toEqual([undefined, undefined, []]);
});

test("nothing is taken by a link before it is known that its key is still the relay's", async () => {
  const proven = () => Promise.reject(new NotItsKey("superseded"));
  const found = await away({ keys: first, after: [removed] }, { proven });
  expect(found).toEqual([undefined, "superseded", []]);
});

test("one's own relay passes on how a room's relay came to its key, and no other's", async () => {
  const { by, show, known, told } = keeping(await withRoom());
  await show(relayId, one, two);
  await show(relayId, one);
  expect([known(), told()[1], by.isClosed]).toEqual([[one, two], "", false]);
  await show(relayId, fork);
  expect([known(), told()[1], by.isClosed]).toEqual([[one, two], `relay_key_two ${URL_}`, false]);
  await show(hubId, ofHub);
  expect(known(hubId)).toEqual([]);
  await show(relayId, two);
  expect([known(), by.isClosed]).toEqual([[one, two], true]);
});

test("what is shown before it is read that the room has moved there counts once it is", async () => {
  const { room, known, push } = await started({ keys: first });
  push({ type: "successions", relay_id: hubId, records: [ofHub] });
  const { mine, state, log } = (room as unknown as { core: RoomCore }).core.view;
  const making = { mine, state, seen: seenOf(log), now: 1 };
  const { envelope: record } = makeHubMove(making, { relayId: hubId, url: "wss://hub.example" });
  const cell = new Uint8Array();
  push({ type: "delivery", room: state.room, seq: log.seq + 1, record, cell });
  await expect.poll(() => room.lastSeq).toBe(log.seq + 1);
  await expect.poll(() => known(hubId).statements).toEqual([ofHub]);
});

test("a head that comes right after what shows whose it is counts", async () => {
  const { room, push } = await started({ keys: first });
  const { seq } = (room as unknown as { core: RoomCore }).core.view.log;
  const head = { v: 1, room: room.state.room, term: 0, seq, log: relayId, ts: 1 } as const;
  const { envelope: record } = signRecord(second.private, { type: "log_head", ...head });
  push(
    { type: "successions", relay_id: relayId, records: [one] },
    { type: "head", room: room.state.room, record, key: second.public },
  );
  await expect.poll(() => room.saved.status).toBe("frozen");
});

test("a link by a key that is known to be replaced ends once that is known", async () => {
  const { client, room, isAt, known, push } = await started({ keys: first });
  push({ type: "successions", relay_id: relayId, records: [one] });
  await isAt("offline");
  expect(known().statements).toEqual([one]);
  await expect.poll(() => client.troubleOf(room)).toBe(`relay_key_old ${URL_}`);
});

test.each([
  [15, false, [one]],
  [16, false, []],
  [0, true, []],
])("few of these are held: %s others, link closed %s", async (others, isClosed, found) => {
  const { keys, room, rooms, by, show, known } = keeping(await withRoom());
  rooms.clear();
  await show(relayId, one);
  for (let at = 0; at < others; at += 1) await show(new Uint8Array(32).fill(at), ofHub);
  expect(known()).toEqual([]);
  if (isClosed) {
    by.close();
    await by.closed;
  }
  rooms.set(room.id, room);
  await keys.hubMoved();
  expect(known()).toEqual(found);
});

test("where nothing is known of a relay, what it shows says which one it is", async () => {
  const { relays } = relaysAt(() => ({ keys: third, shown: [one, two] }));
  expect(await relays.idOf(URL_)).toEqual(relayId);
});
