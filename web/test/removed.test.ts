/** A relay that says one is out of the room, and what it shows for that. */

import { expect, onTestFinished, test, vi } from "vitest";

import { text } from "../src/client/contents.ts";
import { following } from "./following.ts";
import { refusal } from "./rooms.ts";

test("a relay's word alone that one was removed is told, and asked about again", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  let isRefused = false;
  const { room, link, hear, settle } = await following({
    answer: ({ type }) => (isRefused && type === "attach" ? refusal("evicted") : undefined),
  });
  const removed = () => hear({ type: "removed", code: "evicted", record: new Uint8Array(3) });
  await removed();
  expect([room.refusal, room.isLive, room.saved.status]).toEqual(["evicted", false, "active"]);
  await room.send(text("do you hear me?"));
  expect(link.of("post")).toEqual([]);
  await vi.advanceTimersByTimeAsync(11_000);
  await settle();
  expect([room.refusal, room.isLive]).toEqual(["", true]); // it was not so
  expect(link.of("attach")).toHaveLength(2);
  isRefused = true;
  await removed();
  await vi.advanceTimersByTimeAsync(11_000);
  await settle();
  expect([room.refusal, room.isLive, link.isClosed]).toEqual(["evicted", false, false]);
  expect(link.of("attach")).toHaveLength(3);
});
