/** To whose devices a message has come: proven by signatures, believed of nobody else. */

import { expect, test } from "vitest";

import { seenOf } from "../src/e2e/log.ts";
import { openSignal } from "../src/e2e/signals.ts";
import { id, member, opened, wrong } from "./standing.ts";

test("a member's own receipt is believed, however late it comes", async () => {
  const { room, view, hear, receipt } = await opened();
  expect(await hear({ receipt: receipt(seenOf(view.log)), ts: 0 })).toBe(true);
  room.close();
});

test("nobody makes one for another, of another room, or of another log", async () => {
  const { room, view, hear, receipt, theirs } = await opened();
  const seen = seenOf(view.log);
  expect(await hear({ receipt: receipt(seen, member("root")) })).toBe(false);
  expect(await hear({ receipt: receipt(seen, theirs, wrong) })).toBe(false);
  expect(await hear({ receipt: receipt({ ...seen, log: wrong }) })).toBe(false);
  expect(await hear({ receipt: receipt({ seq: seen.seq + 9, log: wrong }) })).toBe(false);
  expect(await hear({ receipt: receipt(seen).subarray(1) })).toBe(false);
  expect(await hear({})).toBe(false);
  expect(room.saved.status).toBe("active");
  room.close();
});

test("who is asked answers once, with its own", async () => {
  const { room, view, told, hear, receipt } = await opened();
  const signals = () => told.filter((frame) => frame.type === "signal");
  expect(signals()).toHaveLength(0);
  await hear({ receipt: receipt(seenOf(view.log)), ask: true });
  await hear({ receipt: receipt(seenOf(view.log)), ask: true });
  await expect.poll(() => signals().length).toBe(1);
  const [sent] = signals();
  const { state, keys, mine } = view;
  const signal = openSignal(id, state.epoch, keys, mine.mid, sent?.cell as Uint8Array, 0);
  expect([signal.kind, signal.ask]).toEqual(["seen", false]);
  room.close();
});
