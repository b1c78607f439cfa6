/** A walk through the main views, to picture them or to check each. */

import type { BrowserContext, Page } from "playwright-core";

import { DESKTOP, type Look, openBrowser, PHONE, Relay } from "./world.ts";

const PASSPHRASE = "correct horse battery";
export const LOOKS: Readonly<Record<string, Look>> = {
  "desktop-light": DESKTOP,
  "desktop-dark": { ...DESKTOP, colorScheme: "dark" },
  "phone-light": { ...PHONE, colorScheme: "light", locale: "es-ES" },
  "phone-dark": PHONE,
};

/** What is done at each view of each look. */
export type Visit = (page: Page, look: string, view: string) => Promise<void>;

/** Visits each view in each of these looks, one member more in the room each time. */
export async function tour(looks: readonly string[], visit: Visit): Promise<void> {
  const relay = await Relay.start();
  try {
    await relay.ana("create", "Allotment 14", "--relay", relay.url, "--name", "Ana");
    await relay.ana("send", "Allotment 14", "Good morning! Who has the key to the shed?");
    relay.anaServes();
    for (const look of looks) {
      const browser = await openBrowser(relay.folder, LOOKS[look] as Look);
      await walk(relay, browser, look, visit).finally(() => browser.close());
    }
  } finally {
    relay.stop();
  }
}

async function walk(
  relay: Relay,
  browser: BrowserContext,
  look: string,
  visit: Visit,
): Promise<void> {
  const page = browser.pages()[0] ?? (await browser.newPage());
  const at = (view: string) => visit(page, look, view);
  await page.goto(await relay.invite("Allotment 14"));
  await page.locator("input").first().waitFor();
  await at("1-create");
  for (const input of await page.locator("input").all()) await input.fill(PASSPHRASE);
  await page.locator("button.main").click();
  await page.locator(".pane input").fill(`Bo ${look.length}`);
  await at("2-join");
  await page.locator(".pane button.main").click();
  await page.locator(".composer").waitFor();
  await talk(relay, page, look);
  await at("3-chat");
  await page.locator(".message summary").last().click();
  await at("4-menu");
  await page.locator(".message summary").last().click();
  await page.locator(".bar button[aria-expanded]").last().click();
  await page.locator(".panel summary").first().click();
  await at("5-members");
  await page.locator(".panel header button").click();
  await page.locator(".bar button[aria-expanded]").first().click();
  await page.locator(".panel input").fill("key");
  await page.locator(".panel .hit").first().waitFor();
  await at("6-search");
  await page.locator(".panel header button").click();
  const back = page.locator(".bar button.only-phone");
  if (await back.isVisible()) await back.click();
  await at("7-rooms");
  await own(page, at);
  await page.locator(".rooms footer button").first().click();
  await page.locator("input").waitFor();
  await at("11-unlock");
  await page.locator(".card button.quiet").click();
  await page.locator(".card .danger").waitFor();
  await at("12-forget");
  await page.goto(`${relay.page}check.html`);
  await at("13-check");
}

/** A room of one's own, and whom one may bring in. */
async function own(page: Page, at: (view: string) => Promise<void>): Promise<void> {
  await page.locator(".rooms footer button").nth(1).click();
  await page.locator(".card select").waitFor();
  await at("8-settings");
  await page.locator(".card .row").last().locator("button").first().click();
  await page.locator(".rooms header button.main").click();
  await page.locator(".card input").first().fill("Garden plans");
  await at("9-found");
  await page.locator(".card .main").click();
  await page.locator(".composer").waitFor();
  await page.locator(".bar button[aria-expanded]").nth(1).click();
  await page.locator(".panel .main").click();
  await page.locator(".panel .qr").waitFor();
  await at("10-invite");
  await page.locator(".panel header button").click();
  const back = page.locator(".bar button.only-phone");
  if (await back.isVisible()) await back.click();
}

async function talk(relay: Relay, page: Page, look: string): Promise<void> {
  const words = [
    "It is with me. I can bring it **tonight**, or leave it at the [office](https://example.org/where).",
    "Bring:\n- gloves\n- the `blue` hose\n- seeds",
    "> Who has the key?\nAll of us, soon.",
  ];
  for (const [at, each] of words.entries()) {
    await page.locator("textarea").fill(each);
    await page.keyboard.press("Enter");
    await page.locator(".mine:not(.pending)").nth(at).waitFor();
  }
  await relay.ana("send", "Allotment 14", `Lovely, see you at eight (${look}).`);
  await page.locator(".message").getByText(`(${look})`).waitFor();
  const last = page.locator(".message").last();
  await last.locator("summary").click();
  await last.locator(".menu .emoji").first().click();
  await last.locator(".reactions").waitFor();
}
