/** What a browser does to what it keeps: closes it, has no room for it, throws it away, forgets it. */

import type { Page } from "playwright-core";
import { expect } from "vitest";

import { founder } from "./guest.ts";
import { kept, relay, TEST_MS, test } from "./scene.ts";

/** All that this origin has in the browser. */
const left = (page: Page) =>
  page.evaluate(async () => ({
    databases: (await indexedDB.databases()).map(({ name }) => name),
    caches: await caches.keys(),
    workers: (await navigator.serviceWorker.getRegistrations()).length,
    stored: localStorage.length + sessionStorage.length,
    cookies: document.cookie,
  }));
const NOTHING = { databases: [], caches: [], workers: 0, stored: 0, cookies: "" };

async function forget(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Forget everything" }).click();
  await page.getByLabel("Type forget to go on").fill("forget");
  await page.getByRole("button", { name: "Forget now" }).click();
}

test("what is forgotten is gone whole, and every tab knows it, also one that sleeps", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Gone");
  await guest.say("nobody shall find this");
  await kept(page);
  const locked = await guest.browser.newPage();
  await locked.goto(relay.page);
  await locked.getByRole("button", { name: "Unlock" }).waitFor();
  await page.bringToFront();
  await page.getByRole("button", { name: "Settings" }).click();
  await forget(page);
  await page.getByText("Choose a passphrase").waitFor();
  expect(await left(page)).toEqual(NOTHING);
  await locked.getByText("Choose a passphrase").waitFor();

  // Again, while a tab that sleeps has it open.
  await guest.createVault();
  await guest.found("Gone again");
  await guest.say("nor this");
  const life = await guest.browser.newCDPSession(page);
  await life.send("Page.setWebLifecycleState", { state: "frozen" });
  await locked.bringToFront();
  await locked.reload();
  await forget(locked);
  await locked.getByText("Choose a passphrase").waitFor();
  expect(await left(locked)).toEqual(NOTHING);
  await life.send("Page.setWebLifecycleState", { state: "active" });
  await page.bringToFront();
  await page.getByRole("heading", { name: "Forgotten" }).waitFor();
  await page.getByRole("button", { name: "Begin anew" }).click();
  await page.getByText("Choose a passphrase").waitFor();
  expect(await left(page)).toEqual(NOTHING);
  expect(complaints).toEqual([]);
});

/** The browser's storage is full, or no more so. */
const fill = (page: Page, isFull: boolean) =>
  page.evaluate((full) => {
    const all = window as unknown as { put?: IDBObjectStore["put"] };
    all.put ??= IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = full
      ? () => {
          throw new DOMException("no more", "QuotaExceededError");
        }
      : all.put;
  }, isFull);

test("who runs out of space keeps what they wrote, hears why, and sends it once there is some", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page } = await founder(relay, "Narrow");
  await guest.say("while there was room");
  await fill(page, true);
  await guest.write("no room for this");
  await page.getByText("This browser has no room left").first().waitFor();
  const input = page.getByLabel("Write a message");
  await expect.poll(() => input.inputValue()).toBe("no room for this");
  await fill(page, false);
  await input.press("Enter");
  await guest.sees("no room for this");
});

test("new words for a message that find no room are not lost, though one answers another by then", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page } = await founder(relay, "Mended");
  await guest.say("to mend");
  await guest.say("to answer");
  const input = page.getByLabel("Write a message");
  await guest.act("to mend", "Edit");
  await input.fill("mended");
  await fill(page, true);
  await page.evaluate(() => {
    // In one go: before it is known that there is no room.
    const enter = { key: "Enter", bubbles: true, cancelable: true };
    document.querySelector("textarea")?.dispatchEvent(new KeyboardEvent("keydown", enter));
    const messages = [...document.querySelectorAll(".message")];
    const other = messages.find(({ textContent }) => textContent?.includes("to answer"));
    const buttons = [...(other?.querySelectorAll("button") ?? [])];
    buttons.find(({ textContent }) => textContent === "Reply")?.click();
  });
  await page.locator(".about").getByText("Reply to").waitFor();
  await expect.poll(() => input.inputValue()).toBe("mended");
  await fill(page, false);
});

test("what the browser has thrown away is said to be gone, and not made again", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page } = await founder(relay, "Evicted");
  await guest.say("before");
  const session = await guest.browser.newCDPSession(page);
  const { origin } = new URL(relay.page);
  await session.send("Storage.clearDataForOrigin", { origin, storageTypes: "indexeddb" });
  await page.getByRole("heading", { name: "Your browser has removed your keys" }).waitFor();
  expect((await left(page)).databases).toEqual([]);
  await page.getByRole("button", { name: "Begin anew" }).click();
  await page.getByText("Choose a passphrase").waitFor();
});

test("a database that the browser closes is opened anew, unseen; words outlive a look elsewhere", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Closed");
  await relay.ofc("bo", "join", await guest.invite(), "--name", "Bo", "--timeout", "60");
  await page.getByText("You let Bo in").waitFor();
  await guest.closePanel();
  await page.addInitScript(() => {
    const open = indexedDB.open.bind(indexedDB);
    const opened: IDBDatabase[] = [];
    Object.assign(window, {
      loseAll: () => {
        for (const one of opened.splice(0)) {
          one.close();
          one.dispatchEvent(new Event("close"));
        }
      },
    });
    indexedDB.open = (...args) => {
      const request = open(...args);
      request.addEventListener("success", () => opened.push(request.result));
      return request;
    };
  });
  const lose = () => page.evaluate(() => (window as unknown as { loseAll(): void }).loseAll());
  await page.reload();
  await guest.unlock();
  await page.getByRole("button", { name: /^Closed/ }).click();
  await lose();
  await guest.say("written after it");
  await lose();
  await relay.ofc("bo", "send", "Closed", "read after it");
  await guest.sees("read after it");
  await lose();
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByLabel("Words to look for").fill("written");
  await page.getByText("1 message found").waitFor();
  await guest.closePanel();
  expect(complaints).toEqual([]);

  // Words that are not sent yet: in another room, and while another tab has the keys.
  const input = page.getByLabel("Write a message");
  await input.fill("half a thought");
  await guest.found("Elsewhere");
  expect(await input.inputValue()).toBe("");
  const second = guest.at(await guest.browser.newPage());
  await second.page.goto(relay.page);
  await second.unlock();
  await second.page.getByRole("button", { name: /^Closed/ }).waitFor();
  await page.bringToFront();
  await page.getByRole("button", { name: "Use it here" }).click();
  await guest.unlock();
  await page.getByRole("button", { name: /^Closed/ }).click();
  await expect.poll(() => input.inputValue()).toBe("half a thought");
  await page.getByRole("button", { name: "Lock now" }).click();
  await guest.unlock();
  await page.getByRole("button", { name: /^Closed/ }).click();
  await guest.sees("read after it");
  expect(await input.inputValue()).toBe("");
});
