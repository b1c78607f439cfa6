/** A move by force that was told, and may yet come in the log: how long no lesser one counts beside it. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { acceptHandover, makeHandover, signControl } from "../src/e2e/controls.ts";
import { makeBoxedRekey } from "../src/e2e/rekeying.ts";
import { hex } from "../src/protocol/bytes.ts";
import { arrives, browser, follow, forced, garden, linkTo, moveOf, NEW, OTHER } from "./garden.ts";
import { RELAY_ID } from "./rooms.ts";

/** Bo's browser was told of a move of term 5, behind more than it has. */
async function toldOfFive() {
  const { stage, bo, cy } = garden();
  stage.admit(stage.root, OTHER);
  const { room, core } = await browser(stage, bo);
  const copy = stage.branch();
  copy.say(copy.root, text("there"));
  await follow(room, stage, [forced(copy, OTHER, 5)]);
  return { stage, bo, cy, room, core };
}

test("it counts no more once another move stands in the log behind its place", async () => {
  const { stage, bo, room } = await toldOfFive();
  stage.say(bo, text("here"));
  const plain = signControl(stage.making(), { ...moveOf(stage).record, force: false });
  stage.postAlone(plain);
  await arrives(room, stage);
  const copy = stage.branch();
  stage.say(bo, text("void"));
  await arrives(room, stage);
  await follow(room, copy, [plain.envelope, forced(copy, RELAY_ID, 2)]);
  expect([room.cut?.messages, room.saved.status]).toEqual([1, "active"]);
});

test("it counts no more once its signer is not root any more", async () => {
  const { stage, bo, cy, room } = await toldOfFive();
  const accept = acceptHandover(stage.making(cy)).envelope;
  stage.postAlone(makeHandover(stage.making(), cy.mid, accept));
  stage.post(makeBoxedRekey(stage.making(cy)));
  await arrives(room, stage);
  const copy = stage.branch();
  stage.say(bo, text("void"));
  await arrives(room, stage);
  const move = moveOf(copy, OTHER, 1, cy);
  copy.postAlone(move);
  await follow(room, copy, [move.envelope]);
  expect([room.cut?.messages, room.saved.status, hex(room.state.root)]).toEqual([
    1,
    "active",
    hex(cy.mid),
  ]);
});

test("root's vault that was put back knows which terms root has signed by force", async () => {
  const { stage } = garden();
  const { room, core } = await browser(stage, stage.root);
  const copy = stage.branch();
  copy.say(copy.root, text("there"));
  const { link } = linkTo(room, stage, [forced(copy, NEW, 4)]);
  await room.attach(link, new Uint8Array(32));
  await room.goOnAfter(Promise.resolve());
  expect([core.marks.forcedTerm, core.marks.signedTerm]).toEqual([4, 4]);
});
