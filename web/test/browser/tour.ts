/** A walk through the main views, to picture them or to check each. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";

import { DESKTOP, type Look, openBrowser, PHONE, Relay } from "./world.ts";

/** A picture of 24 × 16 pixels: a shed in the evening. */
const PICTURE = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAABgAAAAQCAIAAACDRijCAAAAkElEQVR42mP4tSqPKojhy7IyqiCGd4vqqIIYXsxrw4OiNDTgCL9Khkez+rAiZCOQES71DHemTUNDuIxARpi6GK5NmoeJKtw08CCsWhgu9C3DRPgNwqqF4VTXOkyE3yCsWhiOtG3DRMjaNOTkgAhZBKsWhn1N+zARfoOwamHYUXcME+E3CKsWBrc8G6qgYWwQACOSO68RTwIuAAAAAElFTkSuQmCC",
  "base64",
);
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
    writeFileSync(join(relay.folder, "shed.png"), PICTURE);
    await relay.ana("send", "Allotment 14", "--file", join(relay.folder, "shed.png"));
    // Of somebody who is not there to let anybody in.
    await relay.ofc("eve", "create", "Band", "--relay", relay.url, "--name", "Eve");
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
  await page.locator(".pane summary").click();
  await page.locator(".pane input").first().fill(`Bo ${look.length}`);
  await at("2-join");
  await page.locator(".pane button.main").click();
  await page.locator(".composer").waitFor();
  await talk(relay, page, look);
  await at("3-chat");
  await page.locator("textarea").fill("@A");
  await page.locator(".suggestions button").waitFor();
  await at("3-mention");
  await page.locator("textarea").fill("");
  await page.locator(".message summary").last().click();
  // It is brought into view, however far down its message stands.
  await page.waitForFunction(() => {
    const { bottom } = document.querySelector("[open] > .menu")?.getBoundingClientRect() ?? {};
    const end = document.querySelector(".timeline")?.getBoundingClientRect().bottom;
    return bottom !== undefined && end !== undefined && bottom <= end + 1;
  });
  await at("4-menu");
  await page.locator(".message summary").last().click();
  await picture(page, at);
  await page.locator(".bar button[aria-expanded]").last().click();
  await page.locator(".panel summary").first().click();
  await at("5-members");
  await unfold(page, at);
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
  await alone(relay, page, at);
  await ask(relay, page, at);
  await elsewhere(relay, page, at);
  await at("11-unlock");
  await page.locator(".card button.quiet").click();
  await page.locator(".card .danger").waitFor();
  await at("12-forget");
  await page.goto(`${relay.page}check.html`);
  await at("13-check");
}

/** All that the panel of the members can show, down to the question before one leaves. */
async function unfold(page: Page, at: (view: string) => Promise<void>): Promise<void> {
  const folded = page.locator(".panel details:not([open]) > summary");
  while ((await folded.count()) > 0) await folded.first().click();
  const leave = page.locator(".panel > .part > .row button").last();
  await leave.click();
  await page.locator(".panel .sure").scrollIntoViewIfNeeded();
  await at("5-unfolded");
  await page.locator(".panel .sure button").last().click();
}

/** The relay is away: what is written waits. */
async function alone(relay: Relay, page: Page, at: (view: string) => Promise<void>): Promise<void> {
  await relay.away();
  await page.locator(".room").first().click();
  await page.locator(".banner").waitFor();
  await page.locator("textarea").fill("Is anybody there?");
  await page.keyboard.press("Enter");
  await page.locator(".pending").waitFor();
  await at("9-offline");
  await relay.back();
  await page.locator(".pending").waitFor({ state: "detached" });
  const back = page.locator(".bar button.only-phone");
  if (await back.isVisible()) await back.click();
}

/** A picture, as it is shown large. */
async function picture(page: Page, at: (view: string) => Promise<void>): Promise<void> {
  await page.locator(".picture").first().click();
  await page.locator('.picture[aria-expanded="true"]').waitFor();
  await at("4-picture");
  await page.locator(".picture").first().click();
}

/** A room where nobody is there to let one in. */
async function ask(relay: Relay, page: Page, at: (view: string) => Promise<void>): Promise<void> {
  const [invite] = await relay.ofc("eve", "invite", "Band");
  await page.locator(".rooms header button").first().click();
  const inputs = page.locator(".pane input");
  await inputs.nth(0).fill(invite?.["link"] as string);
  await inputs.nth(1).fill("Bo");
  await page.locator(".pane button.main").click();
  await page.locator(".card h1").waitFor();
  await page.locator('.card [role="status"]').waitFor();
  await at("10-waiting");
}

/** Another tab takes the keys; the first one says so, and takes them back. */
async function elsewhere(
  relay: Relay,
  page: Page,
  at: (view: string) => Promise<void>,
): Promise<void> {
  const other = await page.context().newPage();
  await other.goto(relay.page);
  await other.locator("input").fill(PASSPHRASE);
  await other.locator("button.main").click();
  await other.locator(".rooms").waitFor();
  await page.bringToFront();
  await page.locator(".card h1").waitFor();
  await page.locator(".card button.main").waitFor();
  await at("11-taken");
  await page.locator(".card button.main").click();
  await page.locator("input").waitFor();
  await other.close();
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
  await page.locator(".bar button[aria-expanded]").last().click();
  await page.locator(".panel > .part > details > summary").last().click();
  await page.locator(".panel form input").last().fill("wss://relay.example");
  await page.keyboard.press("Enter");
  await page.locator(".panel .sure").scrollIntoViewIfNeeded();
  await at("10-move");
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
