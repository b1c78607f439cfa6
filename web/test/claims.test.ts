/** What a relay tells of moves: what it costs, and what it can not bring about. */

import "fake-indexeddb/auto";
import { expect, test, vi } from "vitest";

import { text } from "../src/client/contents.ts";
import { signRecord } from "../src/themis/index.ts";
import { browser, deliver, follow, forced, garden, moveOf, NEW, OTHER, shownIn } from "./garden.ts";

const settled = Promise.resolve();

test("of a hundred forged moves nothing is read from the vault", async () => {
  const { stage, bo } = garden();
  const { room, vault } = await browser(stage, bo);
  const copy = stage.branch();
  stage.say(bo, text("three"));
  await follow(room, stage);
  const { record } = moveOf(copy);
  const forged = signRecord(bo.sign.private, record).envelope;
  const reads = [vi.spyOn(vault, "fetch"), vi.spyOn(vault, "archived")];
  for (let count = 0; count < 100; count += 1) {
    room.receive({ type: "moved", room: room.state.room, records: [forged] });
  }
  await room.goOnAfter(settled);
  for (const read of reads) expect(read).not.toHaveBeenCalled();
  expect([room.isLive, room.cut]).toEqual([true, undefined]);
});

test("once a move was taken, a lesser one counts no more, though the log has yet to come to it", async () => {
  const { stage, bo } = garden();
  stage.admit(stage.root, OTHER);
  const { room } = await browser(stage, bo);
  const [copy, lesser] = [stage.branch(), stage.branch()];
  copy.say(copy.root, text("not here yet"));
  const move = forced(copy, NEW, 3);
  await follow(room, stage);
  room.receive({ type: "moved", room: room.state.room, records: [move] });
  await room.goOnAfter(settled);
  stage.say(bo, text("tail"));
  deliver(room, stage, stage.end);
  await expect.poll(() => room.lastSeq).toBe(stage.end);
  room.receive({ type: "moved", room: room.state.room, records: [forced(lesser, OTHER, 1)] });
  await room.goOnAfter(settled);
  expect([room.cut, await shownIn(room)]).toEqual([undefined, ["tail"]]);
});

test("an offer that was made, or accepted, in what is void holds no more", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  stage.say(stage.root, { type: "handover_offer", to: bo.mid });
  await follow(room, stage);
  expect(room.offeredBy).not.toBe("");
  await follow(room, copy, [forced(copy)]);
  expect(room.offeredBy).toBe("");
});
