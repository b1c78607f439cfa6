/** Somebody at the page, in a browser of their own. */

import type { BrowserContext, Locator, Page } from "playwright-core";
import { onTestFinished } from "vitest";

import { complaintsOf, DESKTOP, openProfile, type Relay } from "./world.ts";

/** More than there are places for the focus in any view of a test. */
const STEPS = 60;
export const PASSPHRASE = "correct horse battery";

export class Guest {
  private constructor(
    readonly browser: BrowserContext,
    readonly page: Page,
    readonly name: string,
  ) {}

  /** A browser that was never here before, on an empty page. */
  static async arrive(name = "Bo"): Promise<Guest> {
    return Guest.in(await openProfile(DESKTOP), name);
  }

  /** The same, in a browser that the test has opened. */
  static async in(browser: BrowserContext, name = "Bo"): Promise<Guest> {
    return new Guest(browser, browser.pages()[0] ?? (await browser.newPage()), name);
  }

  /** The same person in another tab. */
  at(page: Page): Guest {
    return new Guest(this.browser, page, this.name);
  }

  /** Make a room of one's own, at the page's relay or another. */
  async found(room: string, url = ""): Promise<void> {
    await this.page.getByRole("button", { name: "New room" }).click();
    await this.page.getByLabel("Name of the room").fill(room);
    await this.page.getByLabel("Your name").fill(this.name);
    if (url !== "") {
      await this.page.getByText("At another relay").click();
      await this.page.getByLabel("Address of the relay").fill(url);
    }
    await this.page.getByRole("button", { name: "Make it" }).click();
    await this.inside(room);
  }

  /** A new invite link of the room that is open. */
  async invite(as = "member"): Promise<string> {
    const { page } = this;
    const panel = page.getByRole("complementary", { name: "Invite somebody" });
    if (!(await panel.isVisible())) await page.getByRole("button", { name: "Invite" }).click();
    const before = await panel.getByLabel("Invite link").count();
    await panel.getByLabel("They may").selectOption(as);
    await panel.getByRole("button", { name: "Make a link" }).click();
    await panel.getByLabel("Invite link").nth(before).waitFor();
    return panel.getByLabel("Invite link").first().inputValue();
  }

  async members(): Promise<void> {
    await this.page.getByRole("button", { name: /^\d+ members?$/ }).click();
  }

  async closePanel(): Promise<void> {
    await this.page.locator(".panel").getByRole("button", { name: "Close" }).click();
  }

  /** What an owner may do with a member, and the answer if it is asked once more. */
  async power(name: string, ...labels: string[]): Promise<void> {
    const menu = this.page.getByLabel(`What to do with this member: ${name}`, { exact: true });
    const row = this.page.locator(".panel li").filter({ has: menu });
    if (!(await row.getByRole("button", { name: labels[0] ?? "" }).isVisible())) await menu.click();
    for (const label of labels) await row.getByRole("button", { name: label }).click();
  }

  async createVault(): Promise<void> {
    const { page } = this;
    await page.getByText("Nobody can recover it").waitFor();
    await page.getByLabel("Passphrase", { exact: true }).fill(PASSPHRASE);
    await page.getByLabel("The same passphrase again").fill(PASSPHRASE);
    await page.getByRole("button", { name: "Create", exact: true }).click();
  }

  async unlock(passphrase = PASSPHRASE): Promise<void> {
    await this.page.getByLabel("Passphrase").fill(passphrase);
    await this.page.getByRole("button", { name: "Unlock" }).click();
  }

  /** Open a link for the first time in this browser, and join. */
  async joinBy(link: string): Promise<void> {
    await this.page.goto(link);
    await this.createVault();
    await this.page.getByLabel("Your name").fill(this.name);
    await this.page.getByRole("button", { name: "Join", exact: true }).click();
  }

  /** Wait until this room is open. */
  inside(room: string): Promise<void> {
    return this.page.getByRole("heading", { name: room, exact: true }).waitFor();
  }

  /** Write, and send it off. */
  async write(words: string): Promise<void> {
    const input = this.page.getByLabel("Write a message");
    await input.fill(words);
    await input.press("Enter");
  }

  /** Write one after the other, as fast as the page takes it. */
  async writeAll(all: readonly string[]): Promise<void> {
    // A room's name is drawn before the place to write in it.
    await this.page.getByLabel("Write a message").waitFor();
    await this.page.evaluate(async (each) => {
      const input = document.querySelector("textarea") as HTMLTextAreaElement;
      const drawn = () => new Promise((resolve) => requestAnimationFrame(resolve));
      for (const words of each) {
        input.value = words;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        await drawn();
        const enter = { key: "Enter", bubbles: true, cancelable: true };
        input.dispatchEvent(new KeyboardEvent("keydown", enter));
        await drawn();
      }
    }, all);
  }

  /** Write, and wait until the relay has it. */
  async say(words: string): Promise<void> {
    await this.write(words);
    await this.sees(words);
  }

  /** What stands in a message that the relay has. */
  said(words: string): Locator {
    return this.page.locator(".message:not(.pending) .lite").getByText(words, { exact: true });
  }

  sees(words: string): Promise<void> {
    return this.said(words).waitFor();
  }

  /** One entry of the menu of the message that says just this. */
  async act(words: string, entry: string): Promise<void> {
    const here = this.page.locator(".lite").getByText(words, { exact: true });
    const message = this.page.locator(".message:not(.pending)").filter({ has: here });
    await message.getByLabel("What to do with this message").click();
    await message.getByRole("button", { name: entry, exact: true }).click();
  }

  /** Send a file of so many bytes, and wait until the room has it. */
  async attach(name: string, size: number): Promise<void> {
    const { page } = this;
    const file = { name, mimeType: "text/plain", buffer: Buffer.alloc(size, "seeds\n") };
    await page.locator('input[type="file"]').setInputFiles(file);
    await page.locator(".message:not(.pending) .filename").getByText(name).waitFor();
  }

  /** Delete the message with this file. */
  async deleteFile(name: string): Promise<void> {
    const here = this.page.locator(".filename").getByText(name);
    const message = this.page.locator(".message").filter({ has: here });
    await message.getByLabel("What to do with this message").click();
    await message.getByRole("button", { name: "Delete", exact: true }).click();
  }

  /** Press Tab until what is called so has the focus. */
  async tabTo(name: string, key: "Tab" | "Shift+Tab" = "Tab"): Promise<void> {
    for (let step = 0; step < STEPS; step += 1) {
      await this.page.keyboard.press(key);
      const found = await this.page.evaluate(() => {
        const { activeElement } = document;
        const label = (activeElement as HTMLInputElement | null)?.labels?.[0]?.textContent;
        return activeElement?.ariaLabel ?? label ?? activeElement?.textContent ?? "";
      });
      if (found.trim() === name) return;
    }
    throw new Error(`the keyboard does not come to ${name}`);
  }

  leave(): Promise<void> {
    return this.browser.close();
  }
}

/** Webber, never here before, in a new room of their own until the test is over. */
export async function founder(relay: Relay, room: string, browser?: BrowserContext) {
  const guest = await Guest.in(browser ?? (await openProfile(DESKTOP)), "Webber");
  onTestFinished(() => guest.leave());
  const { page } = guest;
  const complaints = complaintsOf(page);
  await page.goto(relay.page);
  await guest.createVault();
  await guest.found(room);
  return { guest, page, complaints };
}
