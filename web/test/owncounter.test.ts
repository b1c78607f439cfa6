/** How far one's own events have come, where the end of the log comes to nothing: none is lost by it. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import type { Room } from "../src/client/room.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { hashAt } from "../src/e2e/log.ts";
import { makeBoxedRekey } from "../src/e2e/rekeying.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { peek } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import { arrives, browser, deliver, follow, forced, garden, linkTo, waitingIn } from "./garden.ts";
import { refusal } from "./rooms.ts";
import type { Stage } from "./stage.ts";

/** Those that are posted, and nobody answers, are counted here. */
function counting() {
  const counters: number[] = [];
  const answer = (request: Request): undefined => {
    if (request.type === "post")
      counters.push((peek(request.record).record as RecordOf<"event">).counter);
  };
  return { counters, answer };
}

test("what a relay says to have, and what never came from there, is said again where that is void", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  stage.say(bo, text("one"));
  const copy = stage.branch();
  const { end } = stage;
  const fake = await follow(room, stage, [], ({ type }) =>
    type === "post" ? refusal("sid_conflict", { event_id: NO_ID, seq: end + 1 }) : undefined,
  );
  await room.send(text("two"));
  await expect.poll(() => fake.of("post")).toHaveLength(1);
  const { counters, answer } = counting();
  const move = forced(copy);
  copy.post(makeBoxedRekey(copy.making()));
  await follow(room, copy, [move], answer);
  await expect.poll(() => [waitingIn(room), counters]).toEqual([["two"], [2]]);
});

/** Follows on behind entries that the relay keeps no longer; it says which own event was the last. */
async function skips(
  room: Room,
  stage: Stage,
  floor: number,
  last: { id: string },
  counter: number,
) {
  room.detach();
  const { log } = stage.view(stage.root);
  const head = { seq: stage.end, log: log.log };
  const fake = linkTo(room, stage, [], ({ type }) => {
    if (type === "attach")
      return { type: "attached", ...head, cursor: 0, counter, last: fromHex(last.id) };
    if (type === "sync")
      return { type: "synced", start: floor, floor, head: stage.end, log: hashAt(log, floor - 1) };
    return type === "chain_get"
      ? { type: "chain_page", seqs: [], records: [], more: false }
      : undefined;
  });
  const attached = room.attach(fake.link, newMemberKeys().sign.public);
  await expect.poll(() => fake.of("sync")).toHaveLength(1);
  deliver(room, stage, floor);
  await attached;
}

test.each([
  ["none", 1],
  ["in it", 2],
  ["behind it", 2],
  ["behind it, and in it one that holds", 3],
])(
  "where what is void begins in a gap, one's last words are known; void ones: %s",
  async (where, counter) => {
    const { stage, bo, cy } = garden();
    const { room, core } = await browser(stage, bo);
    const one = stage.say(bo, text("one"));
    await follow(room, stage);
    const isPartlyHeld = where.endsWith("holds");
    const held = isPartlyHeld ? stage.say(bo, text("held")) : one;
    const copy = stage.branch();
    const inGap = where === "in it" ? stage.say(bo, text("void")) : held;
    for (const words of ["a", "b", "c"]) stage.say(cy, text(words));
    const floor = stage.end;
    const isBehind = where.startsWith("behind");
    const last = isBehind ? stage.say(bo, text("void")) : inGap;
    await skips(room, stage, floor, last, counter);
    await expect.poll(() => [room.lastSeq, room.isLive]).toEqual([stage.end, true]);
    room.detach();
    await room.send(text("waits"));
    copy.say(copy.root, text("not here"));
    const move = forced(copy);
    copy.post(makeBoxedRekey(copy.making()));
    const counters = await comesTo(room, copy, move, isPartlyHeld ? 2 : 1, held.id);
    await expect.poll(() => counters).toEqual([isPartlyHeld ? 3 : 2]);
    expect(waitingIn(room)).toEqual(isBehind ? ["void", "waits"] : ["waits"]);
    expect(room.waiting().every(({ failed }) => failed === "")).toBe(true);
    expect(core.marks.recounts).toBe(false);
    for (const who of [bo, cy]) copy.say(who, text("next"));
    await arrives(room, copy);
    expect(room.alarms).toEqual([]);
  },
);

/** The room comes to a relay with a copy, which says how far its own events go; the numbers of those it posts then. */
async function comesTo(room: Room, copy: Stage, move: Uint8Array, counter: number, id = "") {
  const { counters, answer } = counting();
  await follow(room, copy, [], (request) => {
    if (request.type !== "attach") return answer(request);
    room.receive({ type: "moved", room: room.state.room, records: [move] });
    const last = id ? fromHex(id) : undefined;
    return { type: "attached", seq: copy.end, log: copy.hash, cursor: 0, counter, last };
  });
  return counters;
}

test("where the relay has forgotten all of one's own words, what is known from before a gap counts", async () => {
  const { stage, bo, cy } = garden();
  const { room, core } = await browser(stage, bo);
  const own = stage.say(bo, text("mine"));
  const { id } = stage.say(cy, text("one"));
  await follow(room, stage);
  const copy = stage.branch();
  for (const words of ["a", "b", "c"]) for (const who of [bo, cy]) stage.say(who, text(words));
  await skips(room, stage, stage.end - 1, own, 1);
  await expect.poll(() => [room.lastSeq, room.isLive]).toEqual([stage.end, true]);
  room.detach();
  const move = forced(copy);
  copy.post(makeBoxedRekey(copy.making()));
  const counters = await comesTo(room, copy, move, 0);
  await expect.poll(() => counters).toEqual([2]);
  // Nor is the other's last one known from before it new to anybody here.
  const last = { counter: 1, eventId: fromHex(id), certain: false };
  expect(core.view.senders.get(hex(cy.mid))).toMatchObject(last);
});

const NO_ID = new Uint8Array(32).fill(3);
