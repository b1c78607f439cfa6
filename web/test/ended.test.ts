/** What is proven of a time that root has ended by a move by force is kept and told, and freezes nothing. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { amend } from "../src/client/core.ts";
import { keepEvidence } from "../src/client/evidence.ts";
import { evidenceIn } from "./following.ts";
import { browser, deliver, follow, forced, garden, linkTo, OTHER, shownIn } from "./garden.ts";

const lied = (seq: number) => ({ seq, log: OTHER });

test.each([
  ["on the way to the move", true],
  ["behind the move, of before it", true],
  ["behind the move, and not told of it before", false],
])("a member's word over another log is taken %s", async (where, isTold) => {
  const { stage, bo, cy } = garden();
  const { room, vault } = await browser(stage, bo);
  const copy = stage.branch();
  const say = () => copy.say(cy, text("lied to"), undefined, lied(stage.end - 1));
  const isBefore = where.startsWith("on");
  if (isBefore) say();
  const move = forced(copy);
  if (!isBefore) say();
  copy.say(copy.root, text("and on"));
  await follow(room, copy, isTold ? [move] : []);
  expect(await shownIn(room)).toEqual(["lied to", "and on"]);
  expect(room.alarms).toEqual([expect.stringMatching(/^log.fork /)]);
  expect(evidenceIn(vault, room.id)).toHaveLength(1);
  // Of what is behind the move it freezes, as ever.
  copy.say(cy, text("lied to anew"), undefined, lied(room.lastSeq - 1));
  deliver(room, copy, room.lastSeq + 1);
  await expect.poll(() => room.saved.status).toBe("frozen");
});

test.each([
  ["by a bare word, thaws", "log.fork 3", false, "active"],
  ["by what is proven stays so", "log.fork 3", true, "frozen"],
  ["for a wrong key stays so", "join.bad_key", false, "frozen"],
])("a room that an earlier version had frozen %s", async (_, reason, isProven, status) => {
  const { stage, bo } = garden();
  const { room, core } = await browser(stage, bo);
  await core.change((draft) => {
    amend(draft, { status: "frozen", reason });
    if (isProven) keepEvidence(draft.turn, core.tables, [OTHER], "offence");
  });
  await room.attach(linkTo(room, stage).link, new Uint8Array(45));
  expect([room.saved.status, room.isLive]).toEqual([status, status === "active"]);
});
