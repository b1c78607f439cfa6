/**
 * Browsers write what stands in a page's fields to files of their own, in clear, to have it again
 * after a crash: no lock and no passphrase of the page reaches those. So none of ours may be there.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test as vitest } from "vitest";

import { Firefox, hasFirefox } from "./bidi.ts";
import { founder, PASSPHRASE } from "./guest.ts";
import { relay, TEST_MS, test } from "./scene.ts";
import { DESKTOP, missing, openBrowser, Relay } from "./world.ts";

const POLL = { timeout: 60_000, interval: 500 };
const WORDS = "xqzvkwjy8301";
/** Stands in a field that the browser may keep: once it is there, ours would be. */
const CONTROL = "jkwqvzxg5279";
const PUT_CONTROL = `(() => {
  const field = document.createElement("textarea");
  field.id = "control";
  document.body.append(field);
})()`;

/** The files of a profile in which this stands, as UTF-8 or UTF-16. */
function filesWith(words: string, folder: string, profile: string): string[] {
  const forms = [Buffer.from(words, "utf8"), Buffer.from(words, "utf16le")];
  const holds = (name: string) => {
    try {
      const found = readFileSync(join(folder, name));
      return forms.some((form) => found.includes(form));
    } catch {
      return false; // a folder, or gone by now
    }
  };
  const all = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return all.filter((name) => name.startsWith(profile)).filter(holds);
}

test("Chromium keeps neither words that are not sent nor an open invite on its disk", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page } = await founder(relay, "Disk", await openBrowser(relay.folder, DESKTOP));
  const link = await guest.invite();
  await page.getByLabel("Write a message").pressSequentially(WORDS);
  const state = await page.evaluate(() => JSON.stringify(history.state));
  expect(state).toMatch(/"at":/); // one is in a room, and which one says nothing
  expect(state).not.toMatch(/[0-9a-f]{64}/);
  await page.evaluate(PUT_CONTROL);
  await page.locator("#control").pressSequentially(CONTROL);
  const kept = (words: string) => filesWith(words, relay.folder, "profile-");
  await expect
    .poll(async () => {
      await page.evaluate(() => history.pushState({}, "")); // as a look into another room
      return kept(CONTROL);
    }, POLL)
    .not.toEqual([]);
  await guest.leave();
  expect(kept(CONTROL)).not.toEqual([]);
  expect(kept(WORDS)).toEqual([]);
  expect(kept(link.slice(-40))).toEqual([]);
});

const lacking = missing() || (hasFirefox() ? "" : "it is not there: apt-get install firefox-esr");

vitest.skipIf(lacking !== "")(
  "nor does Firefox",
  {
    timeout: TEST_MS,
  },
  async () => {
    const own = await Relay.start();
    onTestFinished(() => own.stop());
    const firefox = await Firefox.start(own.folder);
    onTestFinished(() => firefox.stop());
    await firefox.open(own.page);
    await firefox.type(".field:nth-of-type(1) input", PASSPHRASE);
    await firefox.type(".field:nth-of-type(2) input", PASSPHRASE);
    await firefox.enter(".field:nth-of-type(2) input");
    await firefox.until(`document.body.innerText.includes("No rooms yet")`);
    await firefox.value(
      `[...document.querySelectorAll("button")].find((it) => it.innerText === "New room").click()`,
    );
    await firefox.type(".pane .field:nth-of-type(1) input", "Foxes");
    await firefox.type(".pane .field:nth-of-type(2) input", "Webber");
    await firefox.enter(".pane .field:nth-of-type(2) input");
    await firefox.type(".composer textarea", WORDS);
    await firefox.value(PUT_CONTROL);
    await firefox.type("#control", CONTROL);
    const kept = (words: string) => filesWith(words, own.folder, "firefox-");
    await expect.poll(() => kept(CONTROL), POLL).not.toEqual([]);
    expect(kept(WORDS)).toEqual([]);
  },
);
