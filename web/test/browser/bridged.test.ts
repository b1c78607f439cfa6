/** People on another network, whom a bridge brings: each is told apart, and from every member. */

import { expect } from "vitest";

import { founder } from "./guest.ts";
import { relay, test } from "./scene.ts";
import { PATIENCE_MS } from "./world.ts";

const TEST_MS = 3 * PATIENCE_MS;

test("an owner lets a bridge in; who speaks through it is named, and marked as not verified", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Harbour");
  const link = await guest.invite("bridge");
  // Its words are the longest that this panel has to show.
  const panel = page.locator(".panel");
  expect(await panel.evaluate((one) => one.scrollWidth - one.clientWidth)).toBe(0);
  await relay.ofc("gate", "join", link, "--name", "Gate", "--timeout", "60");
  await guest.closePanel();
  await guest.members();
  await page.locator(".panel .mark.kind").getByText("bridge", { exact: true }).waitFor();
  await guest.closePanel();

  await relay.bridged(
    "gate",
    ["IRC", "kim!~k@host", "kim", "ships at noon"],
    ["IRC", "kim!~k@host", "kim", "three of them"],
    ["IRC", "lee!~l@host", "lee", "two, I think"],
    ["IRC", "x!~x@host", "Webber", "trust me"],
    ["IRC", "e\u202ev!~e@host", "", "who am I"],
  );
  await guest.sees("who am I");
  const headings = await page.locator(".message .heading").allInnerTexts();
  expect(headings.map((one) => one.replace(/\s+/g, " ").trim())).toEqual([
    "kim via IRC, not verified bridge",
    "lee via IRC, not verified bridge",
    "Webber via IRC, not verified bridge",
    "ev!~e@host via IRC, not verified bridge",
  ]);
  await guest.act("ships at noon", "Reply");
  await page.getByText("Reply to kim (via IRC, not verified)").waitFor();
  await guest.say("which ones?");
  await page.locator(".quoted").getByText("kim (via IRC, not verified)").waitFor();
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByLabel("Words to look for").fill("trust");
  await page.locator(".hit").getByText("Webber (via IRC, not verified)").waitFor();
  expect(complaints).toEqual([]);
});
