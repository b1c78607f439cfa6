/** Looking for what was said long ago, with the keyboard and for who hears the page. */

import type { Page } from "playwright-core";
import { expect } from "vitest";

import { breachesOf } from "./axe.ts";
import { founder } from "./guest.ts";
import { relay, TEST_MS, test } from "./scene.ts";

/** What has the focus, by what it says. */
const focused = (page: Page) =>
  page.evaluate(() => {
    const { activeElement } = document;
    return (activeElement?.ariaLabel || activeElement?.textContent || "").trim();
  });

test("what was found is read where it stands, and what comes meanwhile is heard, counted and one step away", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Long");
  const { keyboard } = page;
  await relay.ofc("bo", "join", await guest.invite(), "--name", "Bo", "--timeout", "60");
  await page.getByText("You let Bo in").waitFor();
  await guest.closePanel();
  await expect.poll(() => focused(page)).toBe("Invite"); // what had opened it
  const numbers = Array.from({ length: 130 }, (_, at) => `number ${at + 1}`);
  await relay.says("bo", numbers);
  await guest.sees("number 130");

  await page.getByRole("button", { name: "Search" }).focus();
  await keyboard.press("Enter");
  await keyboard.type("number 35");
  await page.getByRole("status").getByText("1 message found").waitFor();
  await guest.tabTo("Close", "Shift+Tab");
  const hit = page.getByRole("list", { name: "Messages found" }).getByRole("button");
  await hit.focus();
  await keyboard.press("Enter");
  await page.locator(".shown").getByText("number 35").waitFor();
  expect(await hit.evaluate((one) => one === document.activeElement)).toBe(true);
  expect(await hit.getAttribute("aria-current")).toBe("true");

  await relay.ofc("bo", "send", "Long", "news from Bo");
  const heard = page.locator("p[aria-live]").getByText("Bo: news from Bo", { exact: true });
  await heard.waitFor();
  const newest = page.getByRole("button", { name: "Back to the newest messages (1 unread)" });
  await newest.waitFor();
  expect(await breachesOf(page)).toEqual([]);
  await newest.focus();
  await keyboard.press("Enter");
  await guest.sees("news from Bo");
  await expect.poll(() => focused(page)).toMatch(/^Messages/);
  await keyboard.press("Escape");
  await page.locator(".panel").waitFor({ state: "detached" });

  // On a phone the panel covers the messages: it gives way, and the message has the focus.
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByRole("button", { name: "Search" }).focus();
  await keyboard.press("Enter");
  await keyboard.type("number 36");
  await hit.waitFor();
  await hit.focus();
  await keyboard.press("Enter");
  await page.locator(".panel").waitFor({ state: "detached" });
  await page.locator(".shown:focus").getByText("number 36").waitFor();
  expect(await breachesOf(page)).toEqual([]);
  await page.getByRole("button", { name: "Search" }).focus();
  await keyboard.press("Enter");
  await page.locator(".panel").waitFor();
  await keyboard.press("Escape");
  await page.locator(".panel").waitFor({ state: "detached" });
  await expect.poll(() => focused(page)).toBe("Search");

  // What is deleted leaves the focus where it was, not at the beginning of the page.
  await guest.say("a mistake");
  const message = page.locator(".message").filter({ hasText: "a mistake" });
  await message.getByLabel("What to do with this message").focus();
  await keyboard.press("Enter");
  await message.getByRole("button", { name: "Delete", exact: true }).focus();
  await keyboard.press("Enter");
  await page.getByText("This message was deleted.").waitFor();
  await expect.poll(() => focused(page)).toMatch(/^Messages/);
  expect(complaints).toEqual([]);
});
