/** Joining at a relay that lies, twice at once, or for the second time. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test } from "vitest";

import { Client } from "../src/client/client.ts";
import { text } from "../src/client/contents.ts";
import { Joins } from "../src/client/joins.ts";
import { rowsBehind } from "../src/client/journal.ts";
import { makeHome, makeHubMove } from "../src/client/moving.ts";
import type { Relay, Relays } from "../src/client/relays.ts";
import { Room } from "../src/client/room.ts";
import { json, savedMemberKeys } from "../src/client/saved.ts";
import { padded, Tables } from "../src/client/tables.ts";
import { Turn } from "../src/client/vault.ts";
import { makeLeave } from "../src/e2e/controls.ts";
import { makeGenesis } from "../src/e2e/genesis.ts";
import { inviteLink } from "../src/e2e/invites.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { hex } from "../src/protocol/bytes.ts";
import type { Link, Request } from "../src/wire/link.ts";
import { type FakeLink, founded, Hub, newVault, RELAY_ID, refusal, URL_ } from "./rooms.ts";

type Lie = ConstructorParameters<typeof Hub>[1];

/** Somebody who joins a room, through a relay that may lie. */
async function joining(
  lie?: Lie,
  given?: { vault: Awaited<ReturnType<typeof newVault>> },
  learned?: (id: string, moves: readonly Uint8Array[]) => Promise<void>,
) {
  const room = await founded();
  const hub = new Hub(room, lie);
  const fake = hub.connect();
  const vault = given?.vault ?? (await newVault());
  const relay = { url: URL_, relayId: RELAY_ID, keys: newMemberKeys().sign } as unknown as Relay;
  const relays = {
    at: () => relay,
    linkTo: async () => fake.link,
    ofLink: (link: Link) => (link === fake.link ? relay : { ...relay, url: "ws://other.example" }),
    idOf: async () => RELAY_ID,
  } as unknown as Relays;
  const joined: string[] = [];
  const left: string[] = [];
  const joins = new Joins(vault, relays, {
    leaving: (id) => left.push(id),
    moves: async (id, records) => void (await learned?.(id, records)),
    joined: async (id) => void joined.push(id),
    changed: () => undefined,
  });
  onTestFinished(() => joins.close());
  /** The request arrives, and root answers it. */
  const answered = async (code = room.code) => {
    await joins.join(inviteLink(code), "Bo");
    await respond(code);
  };
  const respond = (code = room.code) => {
    const asked = fake.of("join").at(-1) as Extract<Request, { type: "join" }>;
    const record = hub.respond(asked.record, code);
    return joins.moved(fake.link, room.id, {
      type: "join_answer",
      rid: 0,
      room: room.state.room,
      record,
    });
  };
  return { room, hub, fake, vault, joins, joined, left, answered, respond };
}

const asOf = (fake: FakeLink, type: Request["type"]) => fake.of(type).length;

test("a newcomer is in, where its reading begins, and knows of what its admitter knew", async () => {
  const { joined, answered, room, vault, hub } = await joining();
  await answered();
  expect(joined).toEqual([room.id]);
  const opened = new Room(vault, room.id, () => undefined);
  onTestFinished(() => opened.close());
  expect([opened.name, opened.lastSeq]).toEqual(["Garden", 0]);
  expect(opened.nameOf(hex(room.root.mid))).toBe("Ana");
  const mine = savedMemberKeys.read(vault.get(`room/${room.id}`, "mine") as Uint8Array);
  expect(hub.view.state.members.has(hex(mine.mid))).toBe(true);
  // The control log so far, by which it can go back if root moves the room by force.
  const { chain } = new Tables(room.id);
  expect(await rowsBehind(vault, chain, -1)).toEqual([[0, room.records[0]]]);
});

test("once another tab has the vault, a join goes on there, and nowhere else", async () => {
  const { joined, room, vault, joins, respond } = await joining();
  await joins.join(inviteLink(room.code), "Bo");
  await vault.close();
  await respond();
  expect(joined).toEqual([]);
});

const SHORT: Lie = (request, honest) =>
  request.type === "attach" ? { ...honest(), seq: 0 } : undefined;
const LATE: Lie = (request, honest) =>
  request.type === "sync" ? { ...honest(), floor: 9_000_000 } : undefined;
const EARLY: Lie = (request, honest) =>
  request.type === "sync" ? { ...honest(), start: 0, floor: 0 } : undefined;
const CUT: Lie = (request, honest) =>
  request.type === "sync" ? { ...honest(), head: 1 } : undefined;
const OTHER: Lie = (request, honest) =>
  request.type === "sync" ? { ...honest(), log: new Uint8Array(32) } : undefined;

test.each<[string, Lie]>([
  ["a log that is shorter than the admitter knew", SHORT],
  ["a beginning that is later than the log is long", LATE],
  ["a beginning before what a newcomer may read", EARLY],
  ["an end that is not the one it attached to", CUT],
  ["another log than the admitter told of", OTHER],
])("%s is not entered, and the join goes on", async (_, lie) => {
  const { joined, answered, joins, vault, room, hub } = await joining(lie);
  hub.rotate(); // so that a newcomer begins to read where its admitter is
  await answered();
  expect(joined).toEqual([]);
  expect(vault.get(`room/${room.id}`, "mine")).toBeUndefined();
  expect(joins.all()[0]?.state).toBe("waiting");
});

test("a control log that does not come by what the admitter named is not entered", async () => {
  const { joined, answered, hub, room } = await joining((request, honest) => {
    if (request.type !== "chain_get") return undefined;
    const { seqs, records } = honest() as { seqs: number[]; records: Uint8Array[] };
    // What stands between GENESIS and ADMIT is left out.
    return { ...honest(), seqs: [seqs[0], seqs.at(-1)], records: [records[0], records.at(-1)] };
  });
  hub.invite();
  await answered(room.code);
  expect(joined).toEqual([]);
});

test("no other relay has a say in a join", async () => {
  const { joins, room } = await joining();
  await joins.join(inviteLink(room.code), "Bo");
  const other = new Hub(room).connect();
  const record = Uint8Array.of(1);
  const frame = { rid: 0, room: room.state.room, record };
  await joins.moved(other.link, room.id, { type: "join_answer", ...frame });
  const [invite_id, state] = [room.code.inviteId, "admitted"] as const;
  await joins.moved(other.link, room.id, { type: "join_status", ...frame, invite_id, state });
  expect([joins.all()[0]?.state, other.asked]).toEqual(["waiting", []]);
});

test("a relay that says twice that one is admitted has one enter once", async () => {
  const { joined, left, fake, joins, respond, room } = await joining();
  await joins.join(inviteLink(room.code), "Bo");
  const status = {
    type: "join_status",
    rid: 0,
    room: room.state.room,
    invite_id: room.code.inviteId,
    state: "admitted",
    record: new Uint8Array(),
  } as const;
  const [first] = await Promise.all([
    respond(),
    joins.moved(fake.link, room.id, status),
    joins.moved(fake.link, room.id, status),
  ]);
  expect(first).toBeUndefined();
  await joins.moved(fake.link, room.id, status);
  expect([joined, left]).toEqual([[room.id], [room.id]]);
  expect(asOf(fake, "sync")).toBe(1);
});

test("a new link takes the place of a join that did not work, and of one that nobody answered", async () => {
  let isGone = true;
  const { fake, joins, joined, hub, room, respond } = await joining((request) =>
    request.type === "join" && isGone ? refusal("quota") : undefined,
  );
  await joins.join(inviteLink(room.code), "Bo");
  expect(joins.all()[0]?.state).toBe("failed");
  isGone = false;
  await joins.join(inviteLink(room.code), "Bo"); // the same link, tried again
  expect(joins.all()[0]?.state).toBe("waiting");
  const asked = fake.of("join").length;
  await joins.join(inviteLink(room.code), "Bo");
  expect(fake.of("join")).toHaveLength(asked);
  const second = hub.invite();
  await joins.join(inviteLink(second), "Bo");
  expect(fake.of("join")).toHaveLength(asked + 1);
  await respond(second);
  expect(joined).toEqual([room.id]);
});

test("the same answer again is confirmed with the same bytes", async () => {
  let early = true;
  const { fake, answered, joined, joins, room } = await joining((request) =>
    request.type === "join_confirm" && early ? refusal("join_not_ready") : undefined,
  );
  await answered();
  expect([joined, joins.all()[0]?.state]).toEqual([[], "waiting"]);
  early = false;
  const [record] = [...Object.values(await lastAnswer(joins))];
  await joins.moved(fake.link, room.id, {
    type: "join_answer",
    rid: 0,
    room: room.state.room,
    record: record as Uint8Array,
  });
  const confirms = fake.of("join_confirm") as Extract<Request, { type: "join_confirm" }>[];
  expect(confirms[1]?.record).toEqual(confirms[0]?.record);
  expect(joined).toEqual([room.id]);
});

/** The answer that a join has kept. */
async function lastAnswer(joins: Joins): Promise<{ response: Uint8Array }> {
  const kept = (joins as unknown as { joins: Map<string, { pending: { response: Uint8Array } }> })
    .joins;
  return { response: [...kept.values()][0]?.pending.response as Uint8Array };
}

test.each<[string, boolean]>([
  ["try_again", false],
  ["join_not_ready", false],
  ["invite_unknown", true],
  ["not_found", true],
])("%s, asked for the first time, fails the join: %s", async (code, fails) => {
  const { joins, room } = await joining((request) =>
    request.type === "join" ? refusal(code) : undefined,
  );
  await joins.join(inviteLink(room.code), "Bo");
  expect(joins.all()[0]?.state === "failed").toBe(fails);
});

test("who comes back is a new member: what was never sent is, of the rest nobody knows", async () => {
  const { answered, vault, room, hub, respond, joins, left } = await joining();
  await answered();
  const first = new Room(vault, room.id, () => undefined);
  await first.send(text("never sent"));
  await first.send(text("maybe sent"));
  await first.setVerified("aa", "11111");
  const { outbox, tokens } = { outbox: `outbox/${room.id}`, tokens: `tokens/${room.id}` };
  const turn = new Turn(vault);
  const [, [posted, raw]] = vault
    .items(outbox)
    .filter(([, one]) => /sent/.test(String(json.read(one) && "sent"))) as [
    unknown,
    [string, Uint8Array],
  ];
  const made = { record: "", cell: "", eventId: "00", counter: 1, prev: "", ctl: "", seen: 0 };
  turn.put(outbox, posted, json.write({ ...json.read<object>(raw), made, isPosted: true }));
  turn.put(tokens, "00", new Uint8Array(32));
  const { chain } = new Tables(room.id);
  turn.put(chain, padded(77), room.records[1] as Uint8Array); // void since, it may be
  await vault.commit(turn);
  const before = savedMemberKeys.read(vault.get(`room/${room.id}`, "mine") as Uint8Array);
  hub.post(makeLeave({ ...hub.making, mine: before }).envelope);
  hub.rotate();
  first.close();

  const code = hub.invite();
  await joins.join(inviteLink(code), "Bo");
  await respond(code);
  expect(left).toEqual([room.id, room.id]);
  const again = new Room(vault, room.id, () => undefined);
  onTestFinished(() => again.close());
  expect(again.me).not.toBe(hex(before.mid));
  expect(again.waiting().map(({ failed }) => failed !== "")).toEqual(
    [true, true, false].slice(1).reverse(),
  );
  expect(again.verifiedAs("aa")).toBe("11111");
  expect(vault.items(tokens)).toEqual([]);
  expect((await rowsBehind(vault, chain, -1)).map(([seq]) => seq)).not.toContain(77);
});

test("a room with another past than the one that is kept is not joined again", async () => {
  const { answered, vault, room, joins, joined } = await joining();
  const other = makeGenesis(newMemberKeys(), RELAY_ID, 1).view.state;
  const turn = new Turn(vault);
  const { savedState } = await import("../src/client/saved.ts");
  turn.put(`room/${room.id}`, "state", savedState.write({ ...other, room: room.state.room }));
  await vault.commit(turn);
  await answered();
  expect(joined).toEqual([]);
  expect(joins.all()[0]?.state).toBe("failed");
});

test("who was never told of a move hears of it by the control log of its new invite, before that is judged", async () => {
  const { savedState } = await import("../src/client/saved.ts");
  const put = async (state: Parameters<typeof savedState.write>[0]) => {
    const turn = new Turn(vault);
    turn.put(`room/${room.id}`, "state", savedState.write({ ...state, room: room.state.room }));
    await vault.commit(turn);
  };
  const learned: unknown[] = [];
  const made = await joining(undefined, undefined, async (id, moves) => {
    learned.push(id, moves);
    await put(room.state); // it goes back
  });
  const { vault, room, hub, joined, answered } = made;
  const moves = [new Uint8Array(32).fill(9), RELAY_ID].map((relayId) => {
    hub.post(makeHome(hub.making, relayId).envelope);
    const { envelope } = makeHubMove(hub.making, { relayId, url: URL_ });
    hub.post(envelope);
    return envelope;
  });
  await put(makeGenesis(newMemberKeys(), RELAY_ID, 1).view.state);
  await answered(hub.invite());
  expect([learned, joined]).toEqual([[room.id, moves], [room.id]]);
});

test("while a room is joined again, the join hears of it, not the room as it was", async () => {
  const { vault, id, state } = await founded();
  const client = new Client(vault, { makeSocket: () => ({ close() {}, send() {} }) as never });
  onTestFinished(() => client.close());
  const heard: string[] = [];
  const inside = client as unknown as {
    receive(relay: object, frame: object): void;
    joins: { moved(link: unknown, id: string): Promise<void> };
  };
  inside.joins.moved = async (_, room) => void heard.push(room);
  const relay = { url: URL_, relayId: RELAY_ID, link: {} };
  inside.receive(relay, { type: "join_answer", room: state.room, record: new Uint8Array() });
  expect(heard).toEqual([id]);
});
