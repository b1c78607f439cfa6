/** Comparing phrases: equal ones over genuine keys match; nothing else does, in any way. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test } from "vitest";

import { CompareDesk, ComparisonRefused, runsOnly } from "../src/client/comparing.ts";
import { type Draft, RoomCore } from "../src/client/core.ts";
import { Outbox } from "../src/client/outbox.ts";
import { json } from "../src/client/saved.ts";
import type { Content } from "../src/e2e/bodies.ts";
import {
  Comparison,
  ComparisonBroken,
  comparedSecret,
  normalPhrase,
  PhraseTooShort,
  RUN_MS,
  type Step,
} from "../src/e2e/comparing.ts";
import type { Opened } from "../src/e2e/events.ts";
import { memberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { type Member, memberOf } from "../src/protocol/room.ts";
import { founded, keep, newVault } from "./rooms.ts";
import { type Vector, vectors } from "./vectors.ts";

const shared = vectors("comparing");

test.each<Vector>(shared.phrases)("$typed is compared as Python does", ({ typed, compared }) => {
  expect(normalPhrase(typed)).toBe(compared);
});

test.each<string>(shared.too_short)("'%s' is too short", (typed) => {
  expect(() => normalPhrase(typed)).toThrow(PhraseTooShort);
});

function member(name: string): Member {
  const found = vectors("keys").members[name];
  const pair = (raw: Vector) => ({ private: fromHex(raw.private), public: fromHex(raw.public) });
  const keys = memberKeys(pair(found.sign), pair(found.encrypt));
  return { mid: keys.mid, firstEncKey: keys.encrypt.public } as Member;
}

test.each<Vector>(shared.secrets)("what $initiator and $responder compare", (one) => {
  const pair = [member(one.initiator), member(one.responder)] as const;
  const ids = [fromHex(one.room), fromHex(one.relay_id), fromHex(one.run)] as const;
  expect(hex(comparedSecret(...ids, pair, one.phrase))).toBe(one.secret);
});

const RUN = new Uint8Array(16).fill(5);
const side = (secret: string, begins: boolean) => {
  const raw = new TextEncoder().encode(secret);
  const made = new Comparison(RUN, new Uint8Array(32), raw, begins);
  onTestFinished(() => made.close());
  return made;
};

test.each([
  ["the same", "the same", true],
  ["the same", "another", false],
])("%s and %s: %s at both ends", (one, other, same) => {
  const [ana, bo] = [side(one, true), side(other, false)];
  const third = ana.take(bo.take(ana.begin()) as Step) as Step;
  expect(ana.take(bo.take(third) as Step)).toBeUndefined();
  expect([ana.result, bo.result]).toEqual([same, same]);
  expect(() => ana.take(third)).toThrow(ComparisonBroken);
});

test("a step out of turn, damaged, or one's own ends the run", () => {
  const [ana, bo] = [side("the same", true), side("the same", false)];
  const first = ana.begin();
  expect(() => side("the same", true).take(first)).toThrow(ComparisonBroken);
  expect(() => side("the same", false).take({ ...first, step: 3 })).toThrow(ComparisonBroken);
  expect(() => side("x", false).take({ ...first, data: first.data.slice(1) })).toThrow(
    ComparisonBroken,
  );
  const second = bo.take(first) as Step;
  expect(() => ana.take({ ...second, data: second.data.slice(1) })).toThrow(ComparisonBroken);
  expect(() => ana.take(second)).toThrow(ComparisonBroken);
});

// -- at a desk -------------------------------------------------------------------------------------

/** Two members of one room, each with a desk; what one says the other hears when it is carried. */
async function pair() {
  const room = await founded();
  const bo = newMemberKeys();
  const { view } = room;
  const [ana, other] = [memberOf(view.state, room.root.mid), hex(bo.mid)];
  const made: Member = {
    ...ana,
    mid: bo.mid,
    signKey: bo.sign.public,
    encKey: bo.encrypt.public,
    role: "member",
  };
  const members = new Map(view.state.members).set(other, made);
  const state = { ...view.state, members };
  const at = async (keys: typeof bo) => {
    const vault = await newVault();
    await keep(vault, { ...view, mine: keys, state });
    return open(vault);
  };
  const open = (vault: Awaited<ReturnType<typeof newVault>>) => {
    const core = new RoomCore(vault, room.id, () => undefined);
    onTestFinished(() => core.close());
    const outbox = new Outbox(core);
    const desk = new CompareDesk(core, outbox);
    core.isLive = true;
    return { vault, core, outbox, desk, told: 0 };
  };
  const [here, there] = [await at(room.root), await at(bo)];
  let seq = 10;
  /** The next thing that one has said stands in the log, and both read it. */
  const carry = async (from: typeof here, seen = seq): Promise<Content | undefined> => {
    const [item] = from.outbox.items();
    if (item === undefined) return undefined;
    await from.outbox.discard(item.id);
    seq += 1;
    const event = { mid: from.core.view.mine.mid, ts: Date.now(), seen: { seq: seen } };
    const opened = { event, body: { mid: event.mid, content: item.content } } as unknown as Opened;
    for (const one of [here, there].filter(({ core }) => !core.isOver)) {
      await one.core.change((draft: Draft) => one.desk.heard(draft, seq, opened));
    }
    return item.content;
  };
  /** Carry all that is said, in turns, to the end. */
  const talk = async () => {
    for (let idle = 0; idle < 2; ) {
      idle = (await carry(here)) || (await carry(there)) ? 0 : idle + 1;
    }
  };
  const [boId, anaId] = [other, hex(room.root.mid)];
  return { here, there, carry, talk, boId, anaId, made, ana, reopen: open };
}

test("one begins, the other types the same later: both know, and it holds for these keys only", async () => {
  const { here, there, carry, talk, boId, anaId, made } = await pair();
  const first = here.desk.begin(boId, "Purple  elephant");
  await expect.poll(() => here.outbox.items().length).toBe(1);
  await carry(here);
  expect(there.desk.askedUntil(anaId)).toBeGreaterThan(Date.now());
  const second = there.desk.begin(anaId, "purple elephant");
  await expect.poll(() => there.outbox.items().length).toBe(1);
  await talk();
  expect(await Promise.all([first, second])).toEqual(["same", "same"]);
  expect(here.desk.provenAt(made)).toBeGreaterThan(0);
  expect(here.desk.provenAt({ ...made, firstEncKey: new Uint8Array(45) })).toBeUndefined();
  expect(there.desk.askedUntil(anaId)).toBe(0);
});

test("both begin at once: one run goes on, with what both have typed; different phrases differ", async () => {
  const { here, there, talk, boId, anaId, made } = await pair();
  const runs = [here.desk.begin(boId, "one phrase"), there.desk.begin(anaId, "another phrase")];
  await expect.poll(() => there.outbox.items().length + here.outbox.items().length).toBe(2);
  await talk();
  expect(await Promise.all(runs)).toEqual(["different", "different"]);
  expect(here.desk.provenAt(made)).toBeUndefined();
});

test("three guesses a day, counted through a reload and a new join", async () => {
  const { here, boId, reopen } = await pair();
  for (let guess = 0; guess < 3; guess += 1) {
    const run = here.desk.begin(boId, "some phrase");
    await expect.poll(() => here.desk.isOpen(boId)).toBe(true);
    await here.desk.giveUp(boId);
    expect(await run).toBe("given_up");
  }
  await expect(here.desk.begin(boId, "some phrase")).rejects.toMatchObject({ why: "limit" });
  const raw = here.vault.get(here.core.tables.compared, boId) as Uint8Array;
  expect(json.read<{ begun: number[] }>(runsOnly(raw)).begun).toHaveLength(3);
  const again = reopen(here.vault);
  await expect(again.desk.begin(boId, "some phrase")).rejects.toThrow(ComparisonRefused);
});

test("what was never sent is taken back; what was is ended at the other side too", async () => {
  const { here, there, carry, talk, boId, anaId } = await pair();
  const unsent = here.desk.begin(boId, "some phrase");
  await expect.poll(() => here.outbox.items().length).toBe(1);
  await here.desk.giveUp(boId);
  expect([await unsent, here.outbox.items()]).toEqual(["given_up", []]);
  const sent = here.desk.begin(boId, "some phrase");
  await expect.poll(() => here.outbox.items().length).toBe(1);
  await carry(here);
  await here.desk.giveUp(boId);
  expect(await sent).toBe("given_up");
  await talk();
  expect(there.desk.askedUntil(anaId)).toBe(0);
});

test("a reload ends a run, and says so to both", async () => {
  const { here, there, carry, boId, anaId, reopen } = await pair();
  void here.desk.begin(boId, "some phrase").catch(() => undefined);
  await expect.poll(() => here.outbox.items().length).toBe(1);
  await carry(here);
  here.core.close();
  const again = reopen(here.vault);
  again.desk.resume();
  await expect.poll(() => again.outbox.items().length).toBe(1);
  await carry(again);
  expect(again.desk.isOpen(boId)).toBe(false);
  expect(there.desk.askedUntil(anaId)).toBe(0);
});

test("a step for somebody else, or of an old run, is passed over; a late one asks nobody", async () => {
  const { here, there, anaId, boId } = await pair();
  const hear = (content: Content, ts = Date.now()) => {
    const event = { mid: here.core.view.mine.mid, ts, seen: { seq: 1 } };
    const opened = { event, body: { mid: event.mid, content } } as unknown as Opened;
    return there.core.change((draft) => there.desk.heard(draft, 20, opened));
  };
  const step = { type: "compare", run: RUN, step: 1, data: Uint8Array.of(1) } as const;
  await hear({ ...step, to: fromHex(anaId) });
  await hear({ ...step, to: fromHex(boId) }, Date.now() - RUN_MS);
  await hear({ ...step, to: fromHex(boId), step: 2 });
  expect(there.desk.askedUntil(anaId)).toBe(0);
  expect(there.outbox.items()).toEqual([]);
});
