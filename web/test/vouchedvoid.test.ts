/** What a lost hub had acknowledged, and never showed, when root moves the room by force. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { vouchedIn } from "../src/client/tables.ts";
import { eventId, peek } from "../src/themis/index.ts";
import { browser, follow, forced, garden, waitingIn } from "./garden.ts";

test("words that were acknowledged, and never came, freeze no room behind the move", async () => {
  const { stage, bo } = garden();
  const { room, vault } = await browser(stage, bo);
  stage.say(bo, text("one"));
  const copy = stage.branch();
  await follow(room, stage, [], (request) => {
    if (request.type !== "post") return undefined;
    const [log, event_id] = [new Uint8Array(32).fill(5), eventId(peek(request.record))];
    return { type: "ack", room: room.state.room, event_id, seq: stage.end + 1, log };
  });
  await room.send(text("acked"));
  await expect.poll(() => vouchedIn(vault, room.id)).toMatchObject({ seq: stage.end + 1 });
  await follow(room, copy, [forced(copy)]);
  expect([room.saved.status, waitingIn(room)]).toEqual(["active", ["acked"]]);
});
