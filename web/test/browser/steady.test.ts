/** What one says or does stands where it was seen first, and who reads at the end stays there. */

import type { Page } from "playwright-core";
import { expect } from "vitest";

import { founder } from "./guest.ts";
import { relay, TEST_MS, test } from "./scene.ts";

/** From now on, how often the page was drawn without something that was there before. */
const watch = (page: Page, selector: string) =>
  page.evaluate((wanted) => {
    const seen = { was: false, gone: 0 };
    Object.assign(window, { seen });
    new MutationObserver(() => {
      const is = document.querySelector(wanted) !== null;
      if (seen.was && !is) seen.gone += 1;
      seen.was ||= is;
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  }, selector);

const seen = (page: Page) =>
  page.evaluate(() => (window as unknown as { seen: { was: boolean; gone: number } }).seen);

const below = (page: Page) =>
  page
    .locator(".timeline")
    .evaluate(({ scrollHeight, scrollTop, clientHeight }) =>
      Math.round(scrollHeight - scrollTop - clientHeight),
    );

test("what is said or put on a message is never gone again while it is sent", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page } = await founder(relay, "Steady");
  await watch(page, ".mine .lite");
  await guest.say("steady");
  expect(await seen(page)).toEqual({ was: true, gone: 0 });
  await watch(page, ".reactions");
  await page.getByLabel("What to do with this message").click();
  await page.locator(".menu .emoji").first().click();
  await page.locator(".reactions").waitFor();
  await guest.say("after it"); // by then the relay has both
  expect(await seen(page)).toEqual({ was: true, gone: 0 });
});

test("who reads at the end stays there, whatever grows and leaves less room", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page } = await founder(relay, "End");
  for (let at = 0; at < 30; at += 1) await guest.say(`line ${at}`);
  expect(await below(page)).toBe(0);
  // In one frame a scroll is to be told of, and there is less room.
  await page.evaluate(() => {
    const timeline = document.querySelector(".timeline") as HTMLElement;
    timeline.scrollTop -= 1;
    timeline.scrollTop += 1;
    timeline.style.flex = "0 0 200px";
  });
  await expect.poll(() => below(page)).toBe(0);
  // With more room the browser goes up itself; before that is told of, there is less again.
  await page.evaluate(() => {
    const timeline = document.querySelector(".timeline") as HTMLElement;
    timeline.removeAttribute("style");
    timeline.dataset["drawn"] = String(timeline.scrollTop);
    timeline.style.flex = "0 0 300px";
  });
  await expect.poll(() => below(page)).toBe(0);
  await page.locator(".timeline").evaluate((one) => one.removeAttribute("style"));
  await page.getByLabel("Write a message").fill("many\nlines\nof\nwords\nthat\ntake\nroom");
  await expect.poll(() => below(page)).toBe(0);
  // Who goes up is left there.
  await page.locator(".timeline").evaluate((one) => one.scrollBy(0, -400));
  await expect.poll(() => below(page)).toBe(400);
  await page.getByLabel("Write a message").fill("");
  await guest.say("further down");
  expect(await below(page)).toBeGreaterThan(300);
});
