/** Someone who never opens a terminal founds a room; a Python member and a bot are the others. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";

import { founder, Guest, PASSPHRASE } from "./guest.ts";
import { relay, TEST_MS, test } from "./scene.ts";
import { PATIENCE_MS, Relay } from "./world.ts";

/** A small picture: a PNG of one pixel. */
const PICTURE = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
  "base64",
);

test("a room is made, people and a bot are let in, files pass, the key is renewed, one is evicted", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Garden");
  const first = await guest.invite();
  await relay.ofc("bo", "join", first, "--name", "Bo", "--timeout", "60");
  await page.getByText("You let Bo in").waitFor();
  relay.echoes(await guest.invite("bot"));
  await page.getByRole("button", { name: "3 members" }).waitFor();
  await guest.closePanel();

  await guest.say("hello @Bo");
  await relay.ofc("bo", "send", "Garden", "hello Webber");
  await guest.sees("hello Webber");
  await guest.write("!echo and again");
  await page.locator(".message:not(.mine) .lite").getByText("and again", { exact: true }).waitFor();
  await page.locator(".message:not(.mine) .mark.kind").first().waitFor();
  await page
    .getByLabel(/^delivered to /)
    .first()
    .waitFor();

  writeFileSync(join(relay.folder, "dot.png"), PICTURE);
  await page.locator('input[type="file"]').setInputFiles({
    name: "notes.txt",
    mimeType: "text/plain",
    buffer: Buffer.alloc(700_000, "seeds and tools\n"),
  });
  await page.locator(".filename").getByText("notes.txt").waitFor();
  await relay.ofc("bo", "read", "Garden", "--save", relay.folder);
  expect(readFileSync(join(relay.folder, "notes.txt")).length).toBe(700_000);
  await relay.ofc("bo", "send", "Garden", "--file", join(relay.folder, "dot.png"));
  await page.getByRole("button", { name: "Picture dot.png: show it large" }).waitFor();
  const width = () => page.locator("canvas").evaluate((one) => (one as HTMLCanvasElement).width);
  await expect.poll(width, { timeout: PATIENCE_MS }).toBe(1);
  const [saved] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download" }).last().click(),
  ]);
  expect(saved.suggestedFilename()).toBe("dot.png");
  expect(readFileSync(await saved.path()).equals(PICTURE)).toBe(true);

  await guest.members();
  await page.getByText("Room key number 1").waitFor();
  await page.getByRole("button", { name: "Renew the key now" }).click();
  await page.getByText("Room key number 2").waitFor();
  await page.getByText("Safety number", { exact: true }).first().click();
  await page.getByLabel("I have compared it: it is the same").first().check();
  await page.getByText("✓ compared").waitFor();

  const bo = page.locator(".panel li").filter({ has: page.getByText("Bo", { exact: true }) });
  const theirs = relay.typing("Purple  ELEPHANT\n", "bo", "verify", "Garden", "Webber", "--phrase");
  await page.getByText("Bo wants to compare a phrase with you").waitFor();
  await bo.getByLabel("Phrase that both type").fill("purple elephant");
  await bo.getByRole("button", { name: "Compare the phrase" }).click();
  await page.getByText("The same phrase: these are the genuine keys").waitFor();
  await theirs;
  const ours = page.getByText("Not the same phrase").waitFor();
  await bo.getByLabel("Phrase that both type").fill("grey elephant");
  await bo.getByRole("button", { name: "Compare the phrase" }).click();
  await bo.getByText("Waiting until Bo types it too").waitFor();
  await expect(
    relay.typing("green elephant\n", "bo", "verify", "Garden", "Webber", "--phrase"),
  ).rejects.toThrow();
  await ours;

  await bo.getByText("My other device?").click();
  await bo.getByRole("button", { name: "This is me", exact: true }).click();
  await relay.ofc("bo", "alias", "Garden", "Webber");
  await bo.getByText("same person as Webber").waitFor();
  await guest.power("Bo", "Make co-owner");
  await page.locator(".panel .mark").getByText("co-owner", { exact: true }).waitFor();
  await guest.power("Bo", "Remove", "Yes");
  await page.getByText("You removed Bo; the room has a new key").waitFor();
  await guest.closePanel();
  await guest.say("without Bo");
  await expect(relay.ofc("bo", "read", "Garden")).rejects.toThrow("not in it");
  const kept = JSON.stringify(await relay.ofc("bo", "read", "Garden", "--local"));
  expect(kept).toContain("hello @Bo");
  expect(kept).not.toContain("without Bo");
  expect(complaints).toEqual([]);
});

test("after 100 messages the key is renewed by itself; the other reads on; all can be searched and saved", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page } = await founder(relay, "Busy");
  await relay.ofc("cy", "join", await guest.invite(), "--name", "Cy", "--timeout", "60");
  await guest.closePanel();
  const numbers = Array.from({ length: 100 }, (_, at) => `number ${at + 1}`);
  await relay.says("cy", numbers);
  await guest.sees("number 100");
  await guest.members();
  await page.getByText("Room key number 2").waitFor();
  await guest.closePanel();
  await guest.say("after the rotation");
  const read = await relay.ofc("cy", "read", "Busy", "--limit", "1");
  expect(read.map(({ text }) => text)).toEqual(["after the rotation"]);

  await page.getByRole("button", { name: "Search" }).click();
  await page.getByLabel("Words to look for").fill("NUMBER 17");
  await page.getByText("1 message found").waitFor();
  await page.locator(".hit").click();
  await page.locator(".shown").getByText("number 17").waitFor();
  // What was said so long ago is shown by itself: not all of a long room is drawn.
  expect(await page.locator(".message").count()).toBeLessThanOrEqual(50);
  await page.getByRole("button", { name: "Back to the newest messages" }).click();
  await guest.sees("after the rotation");
  await guest.closePanel();

  await page.getByRole("button", { name: "Settings" }).click();
  const [saved] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Save the messages as a file" }).click(),
  ]);
  const lines = readFileSync(await saved.path(), "utf-8").split("\n");
  const texts = lines.map((line) => JSON.parse(line).text);
  expect(texts).toContain("number 1");
  expect(texts.at(-1)).toBe("after the rotation");
});

test("a second tab takes the vault over, and the first says so and can take it back", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Tabs");
  await guest.say("from the first tab");

  const second = guest.at(await guest.browser.newPage());
  await second.page.goto(relay.page);
  await second.unlock("not the passphrase");
  await second.page.getByText("This is not the passphrase").waitFor();
  await guest.say("still in the first tab");
  await second.unlock();
  await second.page.getByRole("button", { name: /Tabs/ }).click();
  await second.sees("from the first tab");
  await second.say("from the second tab");
  await page.getByText("They were opened in another one").waitFor();

  await page.bringToFront();
  await page.getByRole("button", { name: "Use it here" }).click();
  await guest.unlock();
  await page.getByRole("button", { name: /Tabs/ }).click();
  await guest.sees("from the second tab");
  await guest.say("and back");
  await second.page.getByText("They were opened in another one").waitFor();
  expect(complaints).toEqual([]);

  // As a phone puts it to sleep: it hears nothing, and lets nothing go.
  const life = await guest.browser.newCDPSession(page);
  await life.send("Page.setWebLifecycleState", { state: "frozen" });
  await second.page.bringToFront();
  await second.page.getByRole("button", { name: "Use it here" }).click();
  await second.unlock();
  await second.page.getByRole("button", { name: /Tabs/ }).click();
  await second.sees("and back");
  await second.say("while the other slept");
  await life.send("Page.setWebLifecycleState", { state: "active" });
  await page.bringToFront();
  await page.getByText("They were opened in another one").waitFor();
  await page.getByRole("button", { name: "Use it here" }).click();
  await guest.unlock();
  await page.getByRole("button", { name: /Tabs/ }).click();
  await guest.sees("while the other slept");
  expect(complaints).toEqual([]);

  await page.getByRole("button", { name: "Lock now" }).click();
  await page.getByRole("button", { name: "Unlock" }).waitFor();
  await page.getByRole("button", { name: "Forget everything" }).click();
  expect(await page.getByRole("button", { name: "Forget now" }).isDisabled()).toBe(true);
  await page.getByLabel("Type forget to go on").fill("forget");
  await page.getByRole("button", { name: "Forget now" }).click();
  await page.getByText("Choose a passphrase").waitFor();
  const left = await page.evaluate(async () => ({
    databases: (await indexedDB.databases()).map(({ name }) => name),
    stored: localStorage.length + sessionStorage.length,
  }));
  expect(left.stored).toBe(0);
  await page.getByLabel("Passphrase", { exact: true }).fill(PASSPHRASE);
  expect(complaints).toEqual([]);
});

test("rooms at two relays stand side by side; one may be left for the other, and one be away", {
  timeout: TEST_MS,
}, async () => {
  const other = await Relay.start();
  onTestFinished(() => other.stop());
  const { guest, page } = await founder(relay, "Here");
  await guest.say("at this relay");
  await guest.found("There", other.url);
  await guest.say("at the other");

  await guest.members();
  const host = ({ url }: Relay) => new URL(url).host;
  await page.getByText("My relay for this room").click();
  await page.getByText(`You reach this room through ${host(other)}`).waitFor();
  await page.getByLabel("Address of the relay").fill("relay.example");
  await page.getByRole("button", { name: "Use this relay" }).click();
  await page.getByText("An address of a relay begins with wss://").waitFor();
  await page.getByLabel("Address of the relay").fill(relay.url);
  await page.getByRole("button", { name: "Use this relay" }).click();
  await page.getByText(`You are at ${host(relay)} now`).waitFor();
  await page.getByText(`It passes on to ${host(other)}, which orders the room`).waitFor();
  await guest.closePanel();
  await page.getByText("You went to another relay").waitFor();
  await guest.say("by way of the first");
  await other.away();
  await guest.write("while the room's own is away");
  await page.locator(".pending").waitFor();
  await page.getByRole("button", { name: /^Here/ }).click();
  await guest.say("still here");
  expect(await guest.said("at the other").count()).toBe(0);
  await other.back();
  await page.getByRole("button", { name: /^There/ }).click();
  await guest.sees("while the room's own is away");

  await guest.found("Alone", other.url);
  await other.away();
  await page.getByText("No connection to the relay").waitFor();
});

test("the keyboard is enough, and nothing moves for who wants no motion", {
  timeout: TEST_MS,
}, async () => {
  const guest = await Guest.arrive("Webber");
  onTestFinished(() => guest.leave());
  const { page } = guest;
  const { keyboard } = page;
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.goto(relay.page);
  await page.getByText("Nobody can recover it").waitFor();
  await keyboard.type(PASSPHRASE);
  await keyboard.press("Tab");
  await keyboard.type(PASSPHRASE);
  await keyboard.press("Enter");
  await page.getByText("No rooms yet").waitFor();
  await guest.tabTo("New room");
  await keyboard.press("Enter");
  await page.getByLabel("Name of the room").waitFor();
  await keyboard.type("Keys");
  await keyboard.press("Tab");
  await keyboard.type("Webber");
  await keyboard.press("Enter");
  await guest.inside("Keys");
  await guest.tabTo("Write a message");
  await keyboard.type("typed");
  await keyboard.press("Enter");
  await guest.sees("typed");
  await guest.tabTo("What to do with this message", "Shift+Tab");
  await keyboard.press("Enter");
  await page.locator(".menu").waitFor();
  expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
  await guest.tabTo("Delete");
  await keyboard.press("Enter");
  await page.getByText("This message was deleted.").waitFor();
  await guest.tabTo("1 member", "Shift+Tab");
  await keyboard.press("Enter");
  await page.getByText("Room key number 1").waitFor();
  await guest.tabTo("My relay for this room");
  await keyboard.press("Enter");
  await guest.tabTo("Address of the relay");
  await keyboard.type("nowhere");
  await keyboard.press("Enter");
  await page.getByText("An address of a relay begins with wss://").waitFor();
  await keyboard.press("Escape");
  await page.locator(".panel").waitFor({ state: "detached" });
  await guest.tabTo("Search", "Shift+Tab");
  await keyboard.press("Enter");
  await guest.tabTo("Words to look for");
  await keyboard.type("typed");
  await page.getByText("Nothing was found").waitFor(); // it was deleted
  await keyboard.press("Escape");
  await guest.tabTo("Settings", "Shift+Tab");
  await keyboard.press("Enter");
  await guest.tabTo("Tell me of new messages when I am not looking");
  await guest.tabTo("Lock now");
  await keyboard.press("Enter");
  await page.getByText("Your keys and messages in this browser are locked").waitFor();
  await keyboard.type(PASSPHRASE); // the field has the focus
  await keyboard.press("Enter");
  await page.getByRole("button", { name: /^Keys/ }).waitFor();
});
