/** A walk through the main views, to picture them or to check each. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";

import { DESKTOP, type Look, openBrowser, PHONE, Relay } from "./world.ts";

/** A picture of 360 × 240 pixels: a shed in the evening. */
const PICTURE = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAWgAAADwBAMAAADfieN8AAAAKlBMVEX/3pb2sm7eeFw8eDw8WDSgVGguRizIPDJoQixgQG5YNiQ0MFxGKiI6Ihp18xKYAAADkUlEQVR42u3cMW7bMBQG4CdbgAJP9g0Cn8AAL9IlPUJnbfTYqcjYI2jO1L29goGcwPAN7LUFKnewm0iIbT5SJN9T8hMIWFKK9eHXE0MXToqfNL42IaCBBhpooIEGGmiggQYaaKCBBhpooIEGGmiggQaa1cotkgYaaKCBBhpooIEGGmiggQYaaKCBBhpooIEGesTo6RjRq1U+dPEQ53Us0e/vI0u6On+NCV3V57THhK573TjQthf4ONDVhX9pR3fztWNB11cHetH2aux60ZVjrBJdOyf0oe3N51InumLOaUJfTtXqRtde0zrQ1usG6EBXAUek0bfytFrRdfBBObQNvg1y6GrgcRF0PfiE/Gg76DmVQVeRzsmJ5qVodaHrqKflQduoNyQPukpwZmq0T35WC7pOdnI6tE12W9Khq8Tnp0D7J2fl0XXiZ4DVyo3X6bOQFXIjm/SsCbnGkyy6CbtII4kOjWzWyKFnwVeZiaGH5PUkhR50jxsZ9LCwopZ1massHd/f7ohoyXytYpktqc8OMrHZE6+aPL+2d+co6xczbaMmfWrfTq9+79n9adylQR5ZK/iQSs/MyloBendzqBPdOsYq0TvnhD50y5hRh96xpnShW+acKvSOPalrycvw/x7pq8NdH0g6Ukk7ixpJRyppZ1GXAZdaN+vTBnl99/Uj1jTQsouHa/lA0kC/N3S5z3CR4z7ud6A8gFaLnnsfQNJA60YXnvMD3gT028Pz6XfW/neffrz38piHLB6o6WhFXVD8mn68eyQionP38Za8eUBJi6OLgOqQfxDn/kFHWKejR+0I2niiTZKoDx5BG7+kTa6orwY9XXmVh0lb1QdG0K9iDtqkr+qeeuESu9Am07PYUS+c4ltok3MFeVEvWIpSGnxSL46Ht2TDXqdTgKeG/j672B6OMlPCU0PE/8ypYf5EzFAShjjwCw/eRXTGGnbAGWIiKrM/dCf4pY8q9T8XpHDDtCWa3AeJZXd57Svc86/RC29N26A/no9340ADDTTQQAM9WrTY3qP3Dow5kE7adDf8zIE02nTfpjAH0uhpt2MOsHqEtFW3Zw66q8cyRzJLzgHmAOUBtEb0odszB0g6pB27HXMgn/SeiOh48BrIl8e+i2EO5Lemv7obIeYADyLQQCtqxRehC2+6ywJzgPIAGmiggQYaaKCB1r7LQ3kADTTQQAMNNNBAAw000EADDTTQQL9t/wB7EL/2wOqNBgAAAABJRU5ErkJggg==",
  "base64",
);
const PASSPHRASE = "correct horse battery";
export const LOOKS: Readonly<Record<string, Look>> = {
  "desktop-light": DESKTOP,
  "desktop-dark": { ...DESKTOP, colorScheme: "dark" },
  "phone-light": { ...PHONE, colorScheme: "light", locale: "es-ES" },
  "phone-dark": PHONE,
  // 1280 pixels at 400 %, the least that a page has to fit without a second way to scroll (WCAG 1.4.10).
  narrow: { viewport: { width: 320, height: 568 }, colorScheme: "light", locale: "es-ES" },
  // 1280 pixels at 200 % (WCAG 1.4.4).
  zoomed: { viewport: { width: 640, height: 400 }, colorScheme: "light" },
};
/** Of the longest that a name can be, in one word. */
const LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff".repeat(2).slice(0, 64);
/** What is hard to fit. */
const STRANGE = [
  "مرحبا بالجميع! هل مفتاح الحديقة معكم؟ **غدا** في الساعة 8، انظر https://example.org/garden",
  `Donaudampfschifffahrt${"sgesellschaft".repeat(12)}`,
  `https://example.org/${"a-very-long-path/".repeat(12)}`,
  `\`\`\`\n${"print('a long line of code')  # ".repeat(6)}\n\`\`\``,
  "- one\n  - two\n    - three\n      1. four\n> > > > deep",
  "👨‍👩‍👧‍👦".repeat(60),
].join("\n\n");

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
    const link = await relay.invite("Allotment 14");
    await relay.ofc("lee", "join", link, "--name", LONG_NAME, "--timeout", "60");
    await relay.ofc("lee", "send", "Allotment 14", "--markdown", STRANGE);
    for (const look of looks) {
      const browser = await openBrowser(relay.folder, LOOKS[look] as Look);
      await walk(relay, browser, look, visit).finally(() => browser.close());
    }
  } finally {
    await relay.stop();
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
  await page.locator("input").first().fill(PASSPHRASE);
  await page.locator("button.main").click();
  await page.locator(".problem").getByText(/./).waitFor();
  await at("1-differ");
  for (const input of await page.locator("input").all()) await input.fill(PASSPHRASE);
  await page.locator("button.main").click();
  await page.locator(".pane summary").click();
  await page
    .locator(".pane input")
    .first()
    .fill(`Bo ${Object.keys(LOOKS).indexOf(look) + 1}`);
  await at("2-join");
  await page.locator(".pane button.main").click();
  await page.locator(".composer").waitFor();
  await talk(relay, page, look);
  await at("3-chat");
  await page.locator("textarea").fill("@A");
  await page.locator(".suggestions button").waitFor();
  await at("3-mention");
  await page.locator("textarea").fill("too long ".repeat(6_000));
  await page.locator(".composer .problem").waitFor();
  await at("3-too-long");
  await page.locator("textarea").fill("");
  await page.locator(".message summary").last().click();
  // It is brought into view, however far down its message stands.
  await page.waitForFunction(() => {
    const { bottom } = document.querySelector("[open] > .menu")?.getBoundingClientRect() ?? {};
    const end = document.querySelector(".timeline")?.getBoundingClientRect().bottom;
    return bottom !== undefined && end !== undefined && bottom <= end + 1;
  });
  await at("4-menu");
  await page.locator(".menu").last().locator("button").last().click();
  await page.locator(".about").waitFor();
  await at("4-reply");
  await page.locator(".about button").click();
  await page.locator(".bubble pre").scrollIntoViewIfNeeded();
  await at("4-strange");
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
  await page.locator(".panel input").fill("nobody said this");
  await page.locator(".panel .hit").first().waitFor({ state: "detached" });
  await page.locator('.panel [role="status"]').getByText(/./).waitFor();
  await at("6-nothing");
  await page.locator(".panel header button").click();
  const back = page.locator(".bar button.only-phone");
  if (await back.isVisible()) await back.click();
  await at("7-rooms");
  await own(page, at);
  await alone(relay, page, at);
  await ask(relay, page, at);
  await elsewhere(relay, page, at);
  await at("11-unlock");
  await page.locator("input").fill("not the passphrase");
  await page.locator("button.main").click();
  await page.locator(".problem").getByText(/./).waitFor();
  await at("11-wrong");
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

/** The relay is away: what is written waits; then another one stands in its place. */
async function alone(relay: Relay, page: Page, at: (view: string) => Promise<void>): Promise<void> {
  await relay.away();
  await page.locator(".room").first().click();
  await page.locator(".banner").waitFor();
  await page.locator("textarea").fill("Is anybody there?");
  await page.keyboard.press("Enter");
  await page.locator(".pending").waitFor();
  await at("9-offline");
  const file = { name: "plan of the garden.pdf", mimeType: "application/pdf" };
  await page.locator('input[type="file"]').setInputFiles({ ...file, buffer: Buffer.alloc(1000) });
  await page.locator(".uploads li").waitFor();
  await at("9-upload");
  await page.locator(".uploads button").click();
  await relay.back("other");
  await retry(page);
  await page.locator(".banner.alarm").waitFor();
  await at("9-alarm");
  await relay.away();
  await relay.back();
  await retry(page);
  await page.locator(".pending").waitFor({ state: "detached" });
  const back = page.locator(".bar button.only-phone");
  if (await back.isVisible()) await back.click();
}

/** As when the network is back; a button for that may be gone as soon as it is there. */
const retry = (page: Page) => page.evaluate(() => void dispatchEvent(new Event("online")));

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
  await inputs.nth(0).fill("http://example.org/#no-invite");
  await inputs.nth(1).fill("Bo");
  await page.locator(".pane button.main").click();
  await page.locator(".problem").getByText(/./).waitFor();
  await at("10-bad-link");
  await inputs.nth(0).fill(invite?.["link"] as string);
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
  const forms = page.locator(".panel > .part > details").filter({ has: page.locator("form") });
  const move = forms.nth(1); // behind one's own relay, and before a room's that is gone
  await move.locator("summary").first().click();
  await move.locator("summary").last().click();
  await move.locator("input").first().fill("wss://relay.example");
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
