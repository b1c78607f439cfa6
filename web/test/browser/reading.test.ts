/** Read is what somebody has seen: not what came below while they looked further up. */

import { expect } from "vitest";

import { founder } from "./guest.ts";
import { relay, TEST_MS, test } from "./scene.ts";

test("who reads further up is told how much came, and finds it as new later", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Long");
  await relay.ofc("bo", "join", await guest.invite(), "--name", "Bo", "--timeout", "60");
  await page.getByText("You let Bo in").waitFor();
  await guest.closePanel();
  await guest.writeAll(Array.from({ length: 30 }, (_, at) => `line ${at}`));
  await guest.say("the last one");
  await page.locator(".timeline").evaluate((box) => {
    box.scrollTop = box.scrollHeight / 3;
  });
  await relay.ofc("bo", "send", "Long", "said below");
  const button = page.getByRole("button", { name: "Back to the newest messages (1 unread)" });
  await button.waitFor();
  const again = async () => {
    await page.reload();
    await guest.unlock();
    await page.getByRole("button", { name: /^Long/ }).click();
    await guest.sees("said below");
  };
  await again();
  await page.getByText("New messages", { exact: true }).waitFor();
  expect(await button.count()).toBe(0); // one is at the end, and has seen it
  await again();
  expect(await page.getByText("New messages", { exact: true }).count()).toBe(0);
  expect(complaints).toEqual([]);
});
