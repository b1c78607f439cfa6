/** Who forgets everything, or locks the page: what is left of it, here and in other tabs. */

import "fake-indexeddb/auto";
import { openDB } from "idb";
import { expect, onTestFinished, test, vi } from "vitest";

import { forgetAll } from "../../src/ui/forgetting.ts";
import { forgetPage } from "../../src/ui/offline.ts";
import { whenForgotten } from "../../src/ui/tabs.ts";
import { type Closing, unsentAfter } from "../../src/ui/unsent.ts";

/** A browser that keeps the page, and whose cache fails. */
function keeping() {
  const kept = {
    getNotifications: vi.fn().mockRejectedValue(new TypeError("no notices")),
    unregister: vi.fn().mockResolvedValue(true),
  };
  const keys = vi.fn().mockRejectedValue(new DOMException("no cache", "SecurityError"));
  vi.stubGlobal("navigator", { serviceWorker: { getRegistration: async () => kept } });
  vi.stubGlobal("caches", { keys });
  onTestFinished(() => void vi.unstubAllGlobals());
  return { kept, keys };
}

test("a tab that sleeps keeps nothing but the empty vault from being forgotten", async () => {
  const { kept, keys } = keeping();
  const asleep = await openDB("sleeping", 1);
  const told = vi.fn();
  onTestFinished(whenForgotten(told));
  const blocked = vi.fn();
  const forgetting = forgetAll("sleeping", blocked);
  await expect.poll(() => blocked.mock.calls.length).toBe(1);
  await expect.poll(() => told.mock.calls.length).toBe(1);
  await expect.poll(() => kept.unregister.mock.calls.length).toBe(1);
  expect(keys).toHaveBeenCalledTimes(1);
  asleep.close();
  await forgetting; // whatever the browser's cache says
  expect([told.mock.calls.length, keys.mock.calls.length]).toEqual([1, 1]);
});

test("a browser that says nothing of the worker it lets go is not waited for without end", async () => {
  const { kept } = keeping();
  kept.unregister.mockReturnValue(new Promise(() => undefined));
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const forgotten = vi.fn();
  const forgetting = forgetPage().then(forgotten);
  await vi.advanceTimersByTimeAsync(4_000);
  expect(forgotten).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(2_000);
  await forgetting;
});

test.each<[Closing, string[]]>([
  ["locked", []],
  ["forgotten", []],
  ["evicted", []],
  ["taken", ["one", "two"]],
  ["doubtful", ["one", "two"]],
])("of words that are not sent, once the keys are %s: %s", (why, left) => {
  const before = new Map([["a room", "one"]]);
  const after = unsentAfter(before, why);
  before.set("another", "two"); // a message that was on its way is refused by then
  expect([...after.values()]).toEqual(left);
});
