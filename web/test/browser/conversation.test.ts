/** The page in a real Chromium, against a real relay, with a Python member on the other side. */

import type { BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { complaintsOf, DESKTOP, missing, openBrowser, Relay, requestsOf } from "./world.ts";

const PASSPHRASE = "correct horse battery";
const TEST_MS = 90_000;

const lacking = missing();
if (lacking) console.warn(`The page is not tested in a browser: ${lacking}`);

let relay: Relay;
let browser: BrowserContext;
let page: Page;

beforeAll(async () => {
  if (lacking) return;
  relay = await Relay.start();
  browser = await openBrowser(relay.folder, DESKTOP);
  page = browser.pages()[0] ?? (await browser.newPage());
}, TEST_MS);

afterAll(async () => {
  await browser?.close();
  relay?.stop();
});

const said = (words: string) => page.locator(".message").getByText(words, { exact: true });
const settled = (words: string) =>
  page.locator(".message:not(.pending)").getByText(words, { exact: true }).waitFor();

async function write(words: string): Promise<void> {
  await page.getByLabel("Write a message").fill(words);
  await page.keyboard.press("Enter");
}

async function say(words: string): Promise<void> {
  await write(words);
  await settled(words);
}

async function createVault(): Promise<void> {
  await page.getByText("Nobody can recover it").waitFor();
  await page.getByLabel("Passphrase", { exact: true }).fill(PASSPHRASE);
  await page.getByLabel("The same passphrase again").fill(PASSPHRASE);
  await page.getByRole("button", { name: "Create" }).click();
}

test.skipIf(lacking !== "")(
  "someone invited joins with one link, talks both ways, and after a reload reads on",
  async () => {
    const complaints = complaintsOf(page);
    const asked = requestsOf(page);
    relay.ana("create", "Club", "--relay", relay.url, "--name", "Ana");
    const link = relay.ana("invite", "Club")[0]?.["link"] as string;

    await page.goto(link);
    expect(page.url()).toBe(relay.page);
    await createVault();
    await page.getByLabel("Your name").fill("Bo");
    await page.getByRole("button", { name: "Join", exact: true }).click();
    await page.getByText("Your request has arrived").waitFor();
    relay.anaServes();
    await page.getByRole("heading", { name: "Club" }).waitFor();

    await say("hello from the page");
    relay.ana("send", "Club", "hello back <img src=x onerror=alert(1)>");
    await settled("hello back <img src=x onerror=alert(1)>");
    expect(await page.locator(".lite img").count()).toBe(0);
    const read = relay.ana("read", "Club").filter((line) => line["text"]);
    expect(read.map((line) => [line["name"], line["text"]])[0]).toEqual([
      "Bo",
      "hello from the page",
    ]);

    await page.reload();
    await page.getByLabel("Passphrase").fill("not the passphrase");
    await page.getByRole("button", { name: "Unlock" }).click();
    await page.getByText("This is not the passphrase").waitFor();
    await page.getByLabel("Passphrase").fill(PASSPHRASE);
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: /Club/ }).click();
    await settled("hello from the page");
    relay.ana("send", "Club", "welcome again");
    await settled("welcome again");

    const foreign = asked.filter((url) => !url.startsWith(relay.page));
    expect(foreign).toEqual([]);
    expect(asked.filter((url) => url.includes("ofc1"))).toEqual([]);
    expect(complaints).toEqual([]);
  },
  TEST_MS,
);

test.skipIf(lacking !== "")(
  "one may react, answer, edit and delete; another tab is turned away; forgetting forgets",
  async () => {
    const complaints = complaintsOf(page);
    await page.getByLabel("Write a message").fill("**bold** [here](https://example.org/)");
    await page.keyboard.press("Enter");
    await page.locator(".lite strong").getByText("bold").last().waitFor();
    const address = page.getByRole("link", { name: "here" }).last();
    expect(await address.getAttribute("rel")).toBe("noopener noreferrer");
    await page.getByText("(https://example.org/)").last().waitFor();
    await say("with a typo");
    await act("with a typo", "Edit");
    await page.getByLabel("Write a message").fill("without one");
    await page.keyboard.press("Enter");
    await settled("without one");
    await act("without one", "React with 👍");
    await page.getByRole("button", { name: "👍 1: Bo" }).waitFor();
    await act("welcome again", "Reply");
    await say("thanks");
    await page.locator(".quoted").getByText("welcome again").waitFor();
    await act("without one", "Delete");
    await page.getByText("This message was deleted.").waitFor();
    expect(await said("without one").count()).toBe(0);

    const second = await browser.newPage();
    await second.goto(relay.page);
    await second.getByLabel("Passphrase").fill(PASSPHRASE);
    await second.getByRole("button", { name: "Unlock" }).click();
    await second.getByText("It is open in another tab").waitFor();
    await second.close();

    await page.getByRole("button", { name: "Lock now" }).click();
    await page.getByRole("button", { name: "Forget everything" }).click();
    expect(await page.getByRole("button", { name: "Forget now" }).isDisabled()).toBe(true);
    await page.getByLabel("Type forget to go on").fill("forget");
    await page.getByRole("button", { name: "Forget now" }).click();
    await page.getByText("Choose a passphrase").waitFor();
    expect(complaints).toEqual([]);
  },
  TEST_MS,
);

test.skipIf(lacking !== "")(
  "what is written while the relay is away is kept and sent; scrolling up brings what was earlier",
  async () => {
    relay.ana("create", "Long", "--relay", relay.url, "--name", "Ana");
    relay.ana("send", "Long", "the first of all");
    await page.goto(relay.ana("invite", "Long")[0]?.["link"] as string);
    await createVault();
    await page.getByLabel("Your name").fill("Bo");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Long" }).waitFor();
    for (let number = 1; number <= 60; number += 1) await write(`number ${number}`);
    await settled("number 60");
    expect(await page.locator(".pending").count()).toBe(0);
    expect(await said("the first of all").count()).toBe(0);
    await page.locator(".timeline").evaluate((timeline) => timeline.scrollTo(0, 0));
    await settled("the first of all");

    await relay.away();
    await page.getByText("No connection to the relay").waitFor();
    await write("into the dark");
    await page.locator(".pending").getByText("into the dark").waitFor();
    await relay.back();
    await settled("into the dark");
    await page.locator(".pending").waitFor({ state: "detached" });
  },
  TEST_MS,
);

/** One entry of a message's menu. */
async function act(words: string, entry: string): Promise<void> {
  const message = page.locator(".message:not(.pending)", { hasText: words });
  await message.getByLabel("What to do with this message").click();
  await message.getByRole("button", { name: entry, exact: true }).click();
}
