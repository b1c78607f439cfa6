/** How relays come to their keys: the same is followed here as in Python, and people are told. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test } from "vitest";

import { Client } from "../src/client/client.ts";
import { lineageIn } from "../src/client/lineages.ts";
import { RelayKeys } from "../src/client/relaykeys.ts";
import { Room } from "../src/client/room.ts";
import { newRoom } from "../src/client/saved.ts";
import { ROOMS, saveNewRoom } from "../src/client/tables.ts";
import { Turn, type Vault } from "../src/client/vault.ts";
import { makeGenesis } from "../src/e2e/genesis.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { fromHex } from "../src/protocol/bytes.ts";
import { relayIdOf } from "../src/protocol/ids.ts";
import {
  generateKeyPair,
  type KeyPair,
  type Lineage,
  NotItsKey,
  openedBy,
  proven,
  recalled,
  signRecord,
  TwoSuccessors,
} from "../src/themis/index.ts";
import type { SocketLike } from "../src/wire/link.ts";
import { type Greeter, relaysAt, socketTo } from "./greeters.ts";
import { newVault, URL_ } from "./rooms.ts";
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

/** A vault with a room at the relay. */
async function withRoom(): Promise<Vault> {
  const vault = await newVault();
  const { view } = makeGenesis(newMemberKeys(), relayId, Date.now());
  const turn = new Turn(vault);
  saveNewRoom(turn, newRoom({ room: view.state.room, url: URL_, relayId }), view);
  await vault.commit(turn);
  return vault;
}

/** A client whose room's relay is who answers; `turn` has another one answer from now on. */
async function started(greeter: Greeter) {
  let answering = greeter;
  let socket: SocketLike | undefined;
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
  const known = () => lineageIn(client.vault)(relayId);
  return { client, room, turn, isAt, known };
}

test("a relay's new key is followed, kept, and told once", async () => {
  const { client, room, turn, isAt, known } = await started({ keys: first });
  expect(client.newsOf(room)).toBe("");
  turn({ keys: third, shown: [one, two] });
  await expect.poll(() => client.newsOf(room)).toBe(`relay_key_new ${URL_}`);
  await isAt("online");
  expect(known().statements).toEqual([one, two]);
  client.dismissNews(room);
  turn({ keys: third, shown: [one, two] });
  await isAt("online");
  expect([client.newsOf(room), client.troubleOf(room)]).toEqual(["", ""]);
});

test("who comes later is told nothing, and knows as much", async () => {
  const { client, room, known } = await started({ keys: second, shown: [one] });
  expect([client.newsOf(room), known().statements]).toEqual(["", [one]]);
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

test("a second successor is raised in the room, once", async () => {
  const { client, room, turn } = await started({ keys: second, shown: [one] });
  turn({ keys: other, shown: [fork] });
  await expect.poll(() => room.alarm).toBe(`relay_key_two ${URL_}`);
  room.dismissAlarm();
  client.retryNow();
  await expect.poll(() => client.stateOf(room)).toBe("offline");
  expect(room.alarm).toBe("");
});

test("one's own relay passes on how a room's relay came to its key, and no other's", async () => {
  const vault = await withRoom();
  const rooms = new Map<string, Room>();
  const keys = new RelayKeys(vault, rooms, () => undefined);
  const [[id]] = vault.items(ROOMS) as [[string, Uint8Array]];
  const room = new Room(vault, id, () => undefined);
  rooms.set(room.id, room);
  const show = (id: Uint8Array, ...records: Uint8Array[]) =>
    keys.shown([room], { type: "successions", relay_id: id, records });
  await show(relayId, one, two);
  expect(lineageIn(vault)(relayId).statements).toEqual([one, two]);
  expect(keys.newsOf(relayId)).toBe("");
  await show(relayId, one);
  expect(lineageIn(vault)(relayId).statements).toEqual([one, two]);
  await expect(show(relayId, two)).rejects.toThrow(NotItsKey);
  await show(relayId, fork);
  expect(room.alarm).toBe(`relay_key_two ${URL_}`);
  const strangers = relayIdOf(other.public);
  await show(strangers, step(strangers, 1, other, second));
  expect(lineageIn(vault)(strangers).statements).toEqual([]);
  room.close();
});

test("where nothing is known of a relay, what it shows says which one it is", async () => {
  const { relays } = relaysAt(() => ({ keys: third, shown: [one, two] }));
  expect(await relays.idOf(URL_)).toEqual(relayId);
});
