/** The page in a real Chromium, against a real relay, with a Python member on the other side. */

import { afterAll, beforeAll, expect, onTestFinished, test as vitest } from "vitest";

import { Guest } from "./guest.ts";
import { complaintsOf, missing, PATIENCE_MS, Relay, requestsOf } from "./world.ts";

const TEST_MS = 4 * PATIENCE_MS;

const lacking = missing();
if (lacking) console.warn(`The page is not tested in a browser: ${lacking}`);
const test = vitest.skipIf(lacking !== "");

let relay: Relay;

beforeAll(async () => {
  if (lacking) return;
  relay = await Relay.start();
  await relay.ana("create", "Club", "--relay", relay.url, "--name", "Ana");
}, TEST_MS);

afterAll(() => relay?.stop());

async function arrive(name = "Bo"): Promise<Guest> {
  const guest = await Guest.arrive(name);
  onTestFinished(() => guest.leave());
  return guest;
}

/** A room of Ana's with this one guest, who is in it. */
async function guestOf(room: string): Promise<Guest> {
  relay.anaServes();
  await relay.ana("create", room, "--relay", relay.url, "--name", "Ana");
  const guest = await arrive();
  await guest.joinBy(await relay.invite(room));
  await guest.inside(room);
  return guest;
}

test("someone invited joins with one link, talks both ways, and after a reload reads on", {
  timeout: TEST_MS,
}, async () => {
  const guest = await arrive();
  const { page } = guest;
  const complaints = complaintsOf(page);
  const asked = requestsOf(page);

  await guest.joinBy(await relay.invite("Club"));
  expect(page.url()).toBe(relay.page);
  await page.getByText("Your request has arrived").waitFor();
  relay.anaServes();
  await guest.inside("Club");

  await guest.say("hello from the page");
  await relay.ana("send", "Club", "hello back <img src=x onerror=alert(1)>");
  await guest.sees("hello back <img src=x onerror=alert(1)>");
  expect(await page.locator(".lite img").count()).toBe(0);
  const read = (await relay.ana("read", "Club")).filter((line) => line["text"]);
  expect(read.map((line) => [line["name"], line["text"]])[0]).toEqual([
    "Bo",
    "hello from the page",
  ]);

  await page.reload();
  await guest.unlock("not the passphrase");
  await page.getByText("This is not the passphrase").waitFor();
  await guest.unlock();
  await page.getByRole("button", { name: /Club/ }).click();
  await guest.sees("hello from the page");
  await relay.ana("send", "Club", "welcome again");
  await guest.sees("welcome again");
  // A screen reader says it.
  await page.locator("p[aria-live]").getByText("Ana: welcome again", { exact: true }).waitFor();

  const foreign = asked.filter((url) => !url.startsWith(relay.page));
  expect(foreign).toEqual([]);
  expect(asked.filter((url) => url.includes("ofc1"))).toEqual([]);
  expect(complaints).toEqual([]);
});

test("one may react, answer, edit and delete; what is typed at once after Edit is what is sent", {
  timeout: TEST_MS,
}, async () => {
  const guest = await guestOf("Changes");
  const { page } = guest;
  const complaints = complaintsOf(page);
  await guest.write("**bold** [here](https://example.org/)");
  await page.locator(".message:not(.pending) strong").getByText("bold").waitFor();
  const address = page.getByRole("link", { name: "here" });
  expect(await address.getAttribute("rel")).toBe("noopener noreferrer");
  await page.locator(".address").getByText("(https://example.org/)").waitFor();
  await guest.say("with a typo");
  await guest.act("with a typo", "Edit");
  await guest.write("without one");
  await guest.sees("without one");
  await guest.act("without one", "React with 👍");
  await page.getByRole("button", { name: "👍 1: Bo" }).waitFor();
  await relay.ana("send", "Changes", "a question");
  await guest.sees("a question");
  await guest.act("a question", "Reply");
  await guest.say("an answer");
  await page.locator(".quoted").getByText("a question").waitFor();
  await guest.act("without one", "Delete");
  await page.getByText("This message was deleted.").waitFor();
  expect(await guest.said("without one").count()).toBe(0);

  await guest.say("as it was");
  // Faster than any hand, and than any test by way of the debugger: before the next frame.
  const left = await guest.page.evaluate(async () => {
    const entries = [...document.querySelectorAll<HTMLButtonElement>(".menu button")];
    entries.find((one) => one.textContent === "Edit")?.click();
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    const input = document.querySelector("textarea") as HTMLTextAreaElement;
    input.value = "as it shall be";
    input.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((resolve) => setTimeout(resolve, 500));
    return input.value;
  });
  expect(left).toBe("as it shall be");
  expect(complaints).toEqual([]);
});

test("of two at the page, each sees the other type, and whom a message names", {
  timeout: TEST_MS,
}, async () => {
  const bo = await guestOf("Pair");
  const cy = await arrive("Cy");
  await cy.joinBy(await relay.invite("Pair"));
  await cy.inside("Pair");
  await bo.page.getByText("Ana let Cy in").waitFor();
  await cy.page.getByLabel("Write a message").pressSequentially("hel");
  await bo.page.getByText("Cy is writing…").waitFor();
  await cy.write("hello @B");
  await cy.page.getByLabel("Write a message").pressSequentially("for @B");
  await cy.page.getByRole("list", { name: "Members to mention" }).getByText("@Bo").click();
  await cy.page.keyboard.press("Enter");
  await bo.page.locator(".for-me .mention").getByText("@Bo").waitFor();
  expect(await bo.page.locator(".for-me").count()).toBe(1);
  await bo.page.getByText("Cy is writing…").waitFor({ state: "hidden" });
});

test("what is written while the relay is away is kept and sent; scrolling up brings what was earlier", {
  timeout: TEST_MS,
}, async () => {
  relay.anaServes();
  await relay.ana("create", "Long", "--relay", relay.url, "--name", "Ana");
  await relay.ana("send", "Long", "the first of all");
  const guest = await arrive();
  const { page } = guest;
  await guest.joinBy(await relay.invite("Long"));
  await guest.inside("Long");
  await guest.writeAll(Array.from({ length: 60 }, (_, at) => `number ${at + 1}`));
  await guest.sees("number 60");
  await page.locator(".pending").first().waitFor({ state: "detached" });
  expect(await guest.said("the first of all").count()).toBe(0);
  await page.locator(".timeline").evaluate((timeline) => timeline.scrollTo(0, 0));
  await guest.sees("the first of all");

  await relay.away();
  await page.getByText("No connection to the relay").waitFor();
  await guest.write("into the dark");
  await page.locator(".pending").getByText("into the dark").waitFor();
  await relay.back();
  await guest.sees("into the dark");
  await page.locator(".pending").waitFor({ state: "detached" });

  // A link that died while the device slept is noticed when the page is looked at again.
  await relay.freeze();
  try {
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await page.locator(".banner").waitFor();
    await guest.write("good morning");
  } finally {
    await relay.thaw();
  }
  await guest.sees("good morning");
  await page.locator(".banner").waitFor({ state: "detached" });
});
