/** A room on a relay that lies, and members who would break it. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { text } from "../src/client/contents.ts";
import { amend, type RoomCore } from "../src/client/core.ts";
import { applyChange, type Entry, effectOf } from "../src/client/entries.ts";
import { isCopy } from "../src/client/lagging.ts";
import { Room } from "../src/client/room.ts";
import { savedRoom } from "../src/client/saved.ts";
import { told } from "../src/client/told.ts";
import { Turn, VaultFull } from "../src/client/vault.ts";
import type { Content } from "../src/e2e/bodies.ts";
import { sealEvent } from "../src/e2e/events.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { seenOf } from "../src/e2e/log.ts";
import { makeBoxedRekey, makeKeyAnswer, makeRekey } from "../src/e2e/rekeying.ts";
import { type Taken, take, type View } from "../src/e2e/view.ts";
import { hubAt } from "../src/protocol/room.ts";
import { eventId, randomBytes, signRecord } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import { FakeLink, founded, passes, refusal, URL_ } from "./rooms.ts";

const entry: Entry = {
  seq: 1,
  eventId: "00",
  mid: "aa",
  name: "",
  ts: 0,
  kind: "text",
  text: "hi",
  isMarkdown: false,
  replyTo: "",
  edited: false,
  reactions: {},
  file: undefined,
  via: "",
};
const reaction = (emoji: string, removed = false) =>
  ({ type: "reaction", target: new Uint8Array(32), emoji, removed }) as const;

test.each(["constructor", "toString", "__proto__"])("%s is an emoji like any other", (emoji) => {
  const once = applyChange(entry, "bb", reaction(emoji), false);
  const there = applyChange(JSON.parse(JSON.stringify(once)), "cc", reaction(emoji), false);
  expect(Object.entries(there.reactions)).toEqual([[emoji, ["bb", "cc"]]]);
  const left = applyChange(there, "bb", reaction(emoji, true), false);
  expect(Object.entries(left.reactions)).toEqual([[emoji, ["cc"]]]);
});

test("from which network somebody is said to speak is shown, and can hide nothing", () => {
  const event = { mid: new Uint8Array(32), ts: 1 };
  const said = (name: string) => {
    const via = { network: "IRC\u202e", remote_id: "kim\u200b!u@h", name };
    const body = { name: "Bo", via, content: text("hi") };
    return effectOf(3, "aa", { opened: { event, body } } as unknown as Taken);
  };
  const shown = { via: "IRC", text: "hi", name: "Bo" };
  expect(said("")).toMatchObject({ type: "add", entry: { ...shown, speaker: "kim!u@h" } });
  expect(said("K\u202eim")).toMatchObject({ type: "add", entry: { ...shown, speaker: "Kim" } });
});

test.each(["\u200b", " \u202e\u2800"])(
  "a network that shows nothing (%j) is marked all the same",
  (network) => {
    const event = { mid: new Uint8Array(32), ts: 1 };
    const body = { name: "Bo", via: { network, remote_id: "x", name: "Ana" }, content: text("hi") };
    const said = effectOf(3, "aa", { opened: { event, body } } as unknown as Taken);
    expect(said).toMatchObject({ entry: { via: "?", speaker: "Ana" } });
  },
);

test("an entry holds 64 different emoji, and one that is redacted none", () => {
  let full = entry;
  for (let at = 0; at < 70; at += 1) full = applyChange(full, "bb", reaction(`e${at}`), false);
  expect(Object.keys(full.reactions)).toHaveLength(64);
  expect(applyChange(full, "cc", reaction("e0"), false).reactions["e0"]).toEqual(["bb", "cc"]);
  const gone = { ...entry, kind: "redacted" as const };
  expect(applyChange(gone, "bb", reaction("x"), false)).toBe(gone);
});

/** A room with an open invite at seq 1, whose relay has nothing before 5, and shows `chain`. */
async function skipped(chain: (log: Uint8Array[]) => [number, Uint8Array][]) {
  const { vault, id, records } = await founded();
  const room = new Room(vault, id, () => undefined);
  const shown = chain(records);
  const { link } = new FakeLink((request) => {
    if (request.type === "attach") return attached(4);
    if (request.type === "sync") {
      return { type: "synced", start: 5, floor: 5, head: 4, log: new Uint8Array(32) };
    }
    if (request.type !== "chain_get") return { type: "done" };
    const rows = shown.filter(([seq]) => seq >= request.start);
    const [seqs, all] = [rows.map(([seq]) => seq), rows.map(([, raw]) => raw)];
    return { type: "chain_page", seqs, records: all, more: false };
  });
  await room.attach(link, newMemberKeys().sign.public);
  room.close();
  return room;
}

const attached = (seq: number, log: Uint8Array = new Uint8Array(32)) => ({
  type: "attached",
  seq,
  log,
  cursor: 0,
  counter: 0,
  last: undefined,
});

test("a relay that cuts the control log short takes back nothing that is known", async () => {
  const room = await skipped(([genesis]) => [[0, genesis as Uint8Array]]);
  expect([room.saved.status, room.state.seq, room.state.invites.size]).toEqual(["active", 1, 1]);
  expect(room.lastSeq).toBe(4);
});

test("the key of a stretch that is gone is taken from its box, and those that follow from it", async () => {
  const other = await founded();
  const { view } = other;
  const making = (now: View) => ({
    state: now.state,
    mine: now.mine,
    seen: seenOf(now.log),
    now: 1,
  });
  const boxed = makeBoxedRekey(making(view));
  const first = take(view, 2, boxed.signed.envelope, undefined, boxed.boxes[0]).view;
  const routine = makeRekey(making(first), first.keys).signed;
  const second = take(first, 3, routine.envelope).view;
  const room = new Room(other.vault, other.id, () => undefined);
  onTestFinished(() => room.close());
  const { log } = second.log;
  const { link } = new FakeLink((request) => {
    if (request.type === "attach") return attached(3, log);
    if (request.type === "sync") {
      // The box comes with its record, before all that is kept.
      const frame = { room: view.state.room, seq: 2 };
      const record = boxed.signed.envelope;
      queueMicrotask(() => {
        room.receive({ type: "box", ...frame, box: boxed.boxes[0] as Uint8Array });
        room.receive({ type: "delivery", ...frame, record, cell: new Uint8Array() });
      });
      return { type: "synced", start: 4, floor: 4, head: 3, log };
    }
    if (request.type !== "chain_get") return { type: "done" };
    const records = [boxed.signed.envelope, routine.envelope];
    return { type: "chain_page", seqs: [2, 3], records, more: false };
  });
  await room.attach(link, newMemberKeys().sign.public);
  await settled(room);
  const { keys } = (room as unknown as { core: RoomCore }).core.view.keys;
  expect([...keys.keys()]).toEqual([1, 2]);
  expect(keys.get(2)).toEqual(second.keys.keys.get(2));
});

test("a log that begins behind its end is none", async () => {
  const { room, fake, log, attach } = await on((request) =>
    request.type === "sync"
      ? { type: "synced", start: 2, floor: 9_000, head: 1, log }
      : whole(log, request),
  );
  await attach();
  expect([fake.isClosed, room.lastSeq, room.isLive]).toEqual([true, 1, false]);
});

test("a control log that does not go on from what is known is not taken: the room waits", async () => {
  const room = await skipped(([, opened]) => [[3, opened as Uint8Array]]);
  expect([room.saved.status, room.isLive, room.state.seq]).toEqual(["active", false, 1]);
  expect(room.refusal).toMatch(/^unverifiable /);
});

/** A room whose relay answers so. */
async function on(
  answers: (request: Request, at: number) => object | Error | Promise<object>,
  saved = {},
) {
  const { vault, id, view } = await founded();
  const turn = new Turn(vault);
  const row = savedRoom.read(vault.get("rooms", id) as Uint8Array);
  turn.put("rooms", id, savedRoom.write({ ...row, ...saved }));
  await vault.commit(turn);
  const room = new Room(vault, id, () => undefined);
  onTestFinished(() => room.close());
  const fake: FakeLink = new FakeLink((request) => answers(request, fake.of(request.type).length));
  const keys = newMemberKeys().sign.public;
  const { log } = view.log;
  return { room, fake, log, attach: () => room.attach(fake.link, keys) };
}

const whole = (log: Uint8Array, request: Request) => {
  if (request.type === "attach") return attached(1, log);
  if (request.type === "sync") return { type: "synced", start: 2, floor: 0, head: 1, log };
  return { type: "done" };
};

test.each([
  ["storage_failed", "active", false],
  ["try_again", "active", false],
  ["internal", "active", false],
  ["shutting_down", "active", true],
  ["quota", "removed", false],
  ["forbidden", "removed", false],
] as const)(
  "a founder's room that meets %s is %s; the link is closed: %s",
  async (code, status, isClosed) => {
    const { room, fake, attach } = await on(() => refusal(code), {
      genesis: Uint8Array.of(1),
      createToken: "t",
    });
    await attach();
    expect(room.saved.status).toBe(status);
    expect(room.saved.genesis).toBeDefined();
    expect(fake.isClosed).toBe(isClosed);
  },
);

test("what the relay could not do just now is asked again on the same link", async () => {
  const { room, fake, log, attach } = await on(
    (request, at) =>
      request.type === "create" && at === 1 ? refusal("storage_failed") : whole(log, request),
    { genesis: Uint8Array.of(1) },
  );
  await attach();
  expect(room.isLive).toBe(false);
  await expect.poll(() => room.isLive, { timeout: 10_000 }).toBe(true);
  expect(fake.of("create")).toHaveLength(2);
  expect(room.saved.genesis).toBeUndefined();
});

test("a relay that has lost part of the log is not spoken to until it has it again", async () => {
  let seq = 0;
  const { room, log, attach } = await on((request) =>
    request.type === "attach" && seq === 0 ? attached(0) : whole(log, request),
  );
  await attach();
  expect([room.saved.status, room.isLive, room.refusal]).toEqual(["active", false, "relay_behind"]);
  seq = 1;
  await attach();
  expect([room.saved.status, room.isLive]).toEqual(["active", true]);
});

const ELSEWHERE = new Uint8Array(32).fill(9);

/** A room that is reached at a follower of its hub, on a clock of its own. */
async function away(answers: (request: Request, at: number) => object | Error) {
  const made = await on(answers, { relayId: ELSEWHERE, hubUrl: URL_ });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const pass = async (seconds: number) => {
    await vi.advanceTimersByTimeAsync(seconds * 1_000);
    await settled(made.room);
  };
  return { ...made, pass };
}

test("a copy that is behind is asked again until it has caught up, and nobody is alarmed", async () => {
  const { room, fake, log, attach, pass } = await away((request, at) => {
    if (request.type === "attach" && (at < 3 || at === 5)) return attached(0);
    if (request.type === "sync" && at === 1) return refusal("hub_behind", { seq: 0 });
    return whole(log, request);
  });
  await attach();
  const arrived = room.isLiveWithin(60_000);
  for (const [seconds, asked] of [
    [0, 1],
    [1, 2],
    [2, 3], // whole, but no more by its answer to sync
  ] as const) {
    await pass(seconds);
    expect([room.saved.status, room.refusal, room.isLive]).toEqual([
      "active",
      "copy_behind",
      false,
    ]);
    expect(fake.of("attach")).toHaveLength(asked);
  }
  await pass(4);
  expect(await arrived).toBe(true);
  expect([room.refusal, room.alarms]).toEqual(["", []]);
  room.detach();
  await pass(300);
  await attach();
  expect([room.isLive, room.alarms]).toEqual([false, []]); // the time of before is over
  await pass(1);
  await expect.poll(() => room.isLive).toBe(true);
});

test("of a relay that keeps one in the past its person hears, once; it is still asked", async () => {
  const { room, fake, attach, pass } = await away(() => attached(0));
  await attach();
  await pass(299);
  expect(room.alarms).toEqual([]);
  await pass(62);
  expect([room.alarms, room.saved.status]).toEqual([["copy_behind"], "active"]);
  expect(fake.of("attach")).toHaveLength(11);
  await room.dismissAlarm("copy_behind");
  await pass(600);
  expect([room.alarms, room.refusal]).toEqual([[], "copy_behind"]);
  expect(fake.of("attach")).toHaveLength(21);
});

test("where a room was moved to is its hub once it has stored that; a late answer says nothing", async () => {
  const { state } = (await founded()).view;
  const moved = {
    ...state,
    moved: [{ ...hubAt(state, 0), term: 1, relayId: ELSEWHERE, since: 5 }],
  };
  expect([4, 5].map((end) => isCopy(moved, ELSEWHERE, end))).toEqual([true, false]);
  expect(isCopy(moved, state.relayId, 5)).toBe(true);
  let answer: (late: object) => void = () => undefined;
  const late = new Promise<object>((resolve) => {
    answer = resolve;
  });
  const { room, fake, attach } = await on(() => late);
  const attaching = attach();
  await expect.poll(() => fake.of("attach").length).toBe(1);
  room.leaveLink();
  answer(attached(0));
  await attaching;
  expect(room.saved.status).toBe("active");
});

test.each([
  ["that its log is another one", attached(1), "fork"],
  ["fork", refusal("fork"), "fork"],
  ["that it ends before", attached(0), "relay_behind"],
  ["hub_behind", refusal("hub_behind", { seq: 0 }), "relay_behind"],
])(
  "a relay says %s: it is asked again, later each time, and a person hears of it once",
  async (_, said, word) => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    onTestFinished(() => void vi.useRealTimers());
    let isOver = false;
    const { room, fake, log, attach } = await on((request) =>
      request.type === "attach" && !isOver ? said : whole(log, request),
    );
    await attach();
    const at: number[] = [];
    for (let second = 0; second < 20; second += 1) {
      await passes(1_000);
      await settled(room);
      at.push(fake.of("attach").length);
      expect([room.saved.status, room.isLive, room.refusal]).toEqual(["active", false, word]);
      expect(room.alarms).toEqual(second < 14 ? [] : [word]);
    }
    expect([at[0], at[2], at[6], at[14], at[19]]).toEqual([2, 3, 4, 5, 5]);
    await room.send(text("kept"));
    isOver = true;
    await passes(12_000);
    await settled(room);
    expect([room.isLive, room.refusal, fake.of("post").length]).toEqual([true, "", 1]);
  },
);

test("a vault that an earlier version froze by a relay's word goes on", async () => {
  for (const by of [
    { reason: "relay_behind", code: "hub_behind" },
    { reason: "fork", code: "fork" },
  ]) {
    const { room, log, attach } = await on((it) => whole(log, it), { status: "frozen", ...by });
    await attach();
    expect([room.saved.status, room.saved.reason, room.isLive]).toEqual(["active", "", true]);
  }
});

const coreOf = (room: Room) => (room as unknown as { core: RoomCore }).core;

/** What is proven of the room's relay, and so freezes the room for good. */
const prove = (room: Room) => {
  const core = coreOf(room);
  return core.enqueue(() => core.freeze(told("two_logs", 1), 1, "equivocation"));
};
const standing = ({ saved }: Room) => [saved.status, saved.code];

/** An answer that comes when it is let go. */
function held() {
  let come: (answer: object) => void = () => undefined;
  const answer = new Promise<object>((resolve) => {
    come = resolve;
  });
  return { answer, come: (given: object) => come(given) };
}

test("no relay takes back what was proven, by what it answers to a post", async () => {
  const { answer, come } = held();
  const { room, fake, log, attach } = await on((request) =>
    request.type === "post" ? answer : whole(log, request),
  );
  await attach();
  await room.send(text("x"));
  await expect.poll(() => fake.of("post").length).toBe(1);
  await prove(room);
  come(refusal("hub_behind"));
  await expect.poll(() => room.waiting().length).toBe(1);
  for (let at = 0; at < 5; at += 1) await settled(room);
  expect(standing(room)).toEqual(["frozen", "equivocation"]);
  room.detach();
  await attach();
  expect(standing(room)).toEqual(["frozen", "equivocation"]);
  // It asks, for moves by force alone.
  expect([fake.of("attach").length, fake.of("sync").length]).toEqual([2, 1]);
});

test("no relay takes back what was proven while it was asked to take the room in", async () => {
  const { answer, come } = held();
  const { room, fake, log, attach } = await on((request) =>
    request.type === "attach" ? answer : whole(log, request),
  );
  const attaching = attach();
  await expect.poll(() => fake.of("attach").length).toBe(1);
  await prove(room);
  come(attached(1, log));
  await attaching;
  expect([...standing(room), room.isLive]).toEqual(["frozen", "equivocation", false]);
  expect(fake.of("sync")).toHaveLength(0);
});

test("a log that was cut short gives way to a proof, and freezes nothing that is over", async () => {
  const { room, attach } = await on(() => attached(0));
  await attach();
  expect(standing(room)).toEqual(["active", ""]);
  await prove(room);
  expect(standing(room)).toEqual(["frozen", "equivocation"]);
  const core = coreOf(room);
  await core.change((draft) => amend(draft, { status: "removed", reason: "left", code: "" }));
  await prove(room);
  expect(standing(room)).toEqual(["removed", ""]);
});

const LATE = { type: "synced", start: 5, floor: 5, head: 4, log: new Uint8Array(32) };

test.each([
  ["create", { type: "ack" }, { genesis: Uint8Array.of(1) }],
  ["create", refusal("hub_behind"), { genesis: Uint8Array.of(1) }],
  ["attach", attached(1), {}],
  ["attach", attached(0), {}],
  ["attach", refusal("fork"), {}],
  ["sync", LATE, {}],
  ["sync", refusal("hub_behind"), {}],
  ["chain_get", { type: "chain_page", seqs: [3], records: [Uint8Array.of(1)], more: false }, {}],
  ["post", refusal("hub_behind"), {}],
  ["post", refusal("not_attached"), {}],
] as const)(
  "a relay that was left has no more say by its answer to %s",
  async (type, late, saved) => {
    const { answer, come } = held();
    const { room, fake, log, attach } = await on((request) => {
      if (request.type === type) return answer;
      if (type === "chain_get" && request.type === "attach") return attached(4);
      return type === "chain_get" && request.type === "sync" ? LATE : whole(log, request);
    }, saved);
    const attaching = attach();
    if (type === "post") await room.send(text("x"));
    await expect.poll(() => fake.of(type).length).toBe(1);
    room.leaveLink();
    const asked = fake.asked.length;
    const next = new FakeLink((request) =>
      request.type === "post" ? held().answer : whole(log, request),
    );
    const isNext = type !== "create"; // it would be asked to create it too
    const again = isNext ? room.attach(next.link, newMemberKeys().sign.public) : undefined;
    if (type === "post") await again;
    come(late);
    await Promise.all([attaching, again]);
    for (let at = 0; at < 5; at += 1) await settled(room);
    expect([...standing(room), room.lastSeq, room.refusal]).toEqual(["active", "", 1, ""]);
    expect([room.isLive, next.isClosed]).toEqual([isNext, false]);
    expect(fake.asked).toHaveLength(asked);
  },
);

test.each([attached(1), attached(0), refusal("fork")])(
  "an answer that waits for its turn while its relay is left says nothing",
  async (answer) => {
    const gate = held();
    const { room, fake, attach } = await on(() => answer);
    void coreOf(room).enqueue(async () => void (await gate.answer));
    const attaching = attach();
    await expect.poll(() => fake.of("attach").length).toBe(1);
    await new Promise((resolve) => setTimeout(resolve)); // its answer is queued
    room.leaveLink();
    gate.come({});
    await attaching;
    expect([...standing(room), room.refusal]).toEqual(["active", "", ""]);
  },
);

test("more events of one's own than the log is long are no answer", async () => {
  const { fake, log, attach } = await on(() => ({ ...attached(1, log), counter: 2 }));
  await attach();
  expect(fake.isClosed).toBe(true);
});

// -- deliveries ------------------------------------------------------------------------------------

/** A room that is live, and what its members say in it. */
async function live() {
  const made = await on((request) => whole(made.log, request));
  await made.attach();
  const { room } = made;
  let seq = room.lastSeq;
  const deliver = async (record: Uint8Array, cell: Uint8Array = new Uint8Array()) => {
    seq += 1;
    room.receive({ type: "delivery", room: room.state.room, seq, record, cell });
    await settled(room);
  };
  return { ...made, deliver };
}

/** All that came is taken. */
const settled = (room: Room) => room.markRead(room.saved.readUpTo + 1);

test("what comes before its key is kept, and opened in order once the key is there", async () => {
  const { room, deliver } = await live();
  const { view, vault } = (room as unknown as { core: RoomCore }).core;
  const rekey = makeBoxedRekey({
    state: view.state,
    mine: view.mine,
    seen: seenOf(view.log),
    now: 1,
  });
  await deliver(rekey.signed.envelope); // its box was lost
  expect(view.keys.keys.has(1)).toBe(false);
  const opened = take(view, 2, rekey.signed.envelope, undefined, rekey.boxes[0]).view;
  const say = (content: Content, counter: number, prev: Uint8Array) =>
    sealEvent(
      opened.state,
      view.mine,
      opened.keys,
      { content, sid: randomBytes(16), counter, prev, ts: 5, name: "Ana", voids: [] },
      seenOf(opened.log),
    );
  const first = say(text("with a typo"), 1, view.state.room);
  await deliver(first.signed.envelope, first.cell);
  const target = eventId(first.signed);
  const second = say(
    { type: "edit", target, text: "without", format: "plain", mentions: [] },
    2,
    target,
  );
  await deliver(second.signed.envelope, second.cell);
  expect((await room.history()).map(({ kind }) => kind)).toEqual(["unreadable", "unreadable"]);
  const before = room.revision;

  await expect.poll(() => keyRequest(room)).toBeDefined();
  const given = makeKeyAnswer(opened.state, view.mine, opened.keys, keyRequest(room) as Uint8Array);
  room.receive({
    type: "key_answered",
    room: view.state.room,
    record: given.record,
    box: given.box,
  });
  await settled(room);
  const history = await room.history();
  expect(history.map(({ kind, text: words, edited }) => [kind, words, edited])).toEqual([
    ["text", "without", true],
  ]);
  expect(room.revision).toBeGreaterThan(before);
  expect(vault.items(`parked/${room.id}`)).toEqual([]);
});

/** What this browser asked for the key with. */
function keyRequest(room: Room): Uint8Array | undefined {
  const { duties } = room as unknown as { duties: { request?: { envelope: Uint8Array } } };
  return duties.request?.envelope;
}

test("an entry out of turn has the link opened anew, and breaks nothing", async () => {
  const { room, fake } = await live();
  const record = (await founded()).records[1] as Uint8Array;
  room.receive({ type: "delivery", room: room.state.room, seq: 9, record, cell: new Uint8Array() });
  await settled(room);
  expect([room.saved.status, fake.isClosed, room.lastSeq]).toEqual(["active", true, 1]);
});

test("what there is no room for is no fault of the relay's: it comes again on the next link", async () => {
  const { room, fake, deliver } = await live();
  const { core } = room as unknown as { core: RoomCore };
  const { envelope } = makeRekey(
    { state: core.view.state, mine: core.view.mine, seen: seenOf(core.view.log), now: 1 },
    core.view.keys,
  ).signed;
  const full = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
    throw new DOMException("no more", "QuotaExceededError");
  });
  await deliver(envelope).catch((error) => expect(error).toBeInstanceOf(VaultFull));
  full.mockRestore();
  expect([room.saved.status, room.lastSeq, fake.isClosed]).toEqual(["active", 1, true]);
  expect(room.alarms).toEqual(["vault.full"]);
  room.detach();
  const cell = new Uint8Array();
  room.receive({ type: "delivery", room: room.state.room, seq: 2, record: envelope, cell });
  await settled(room);
  expect([room.lastSeq, room.epoch]).toEqual([2, 1]);
});

test("a record that does not hold is kept, and nothing behind it is taken; the relay is asked anew", async () => {
  const { room, fake, deliver } = await live();
  const { view } = (room as unknown as { core: RoomCore }).core;
  const stranger = newMemberKeys();
  const forged = makeBoxedRekey({
    state: view.state,
    mine: view.mine,
    seen: seenOf(view.log),
    now: 1,
  });
  const record = { ...forged.signed.record, mid: stranger.mid };
  await deliver(signRecord(stranger.sign.private, record as never).envelope);
  await deliver(new Uint8Array(9));
  expect([room.saved.status, room.isLive, room.lastSeq]).toEqual(["active", false, 1]);
  expect([room.refusal, room.alarms, fake.isClosed]).toEqual(["unverifiable not_found", [], false]);
  await expect.poll(() => room.isLive).toBe(true);
  expect([room.refusal, fake.of("attach").length]).toEqual(["", 2]);
});

test("a member who says two things under one number stops nobody else", async () => {
  const { room, deliver } = await live();
  const { view } = (room as unknown as { core: RoomCore }).core;
  const say = (words: string) =>
    sealEvent(
      view.state,
      view.mine,
      view.keys,
      {
        content: text(words),
        sid: randomBytes(16),
        counter: 1,
        prev: view.state.room,
        ts: 5,
        name: "Ana",
        voids: [],
      },
      seenOf(view.log),
    );
  for (const words of ["to one", "to the other"]) {
    const { signed, cell } = say(words);
    await deliver(signed.envelope, cell);
  }
  expect([room.saved.status, room.lastSeq]).toEqual(["active", 3]);
  expect(room.alarms).toEqual(["log.sender_fork 3"]);
  expect((await room.history()).map(({ kind }) => kind)).toEqual(["text", "unreadable"]);
});
