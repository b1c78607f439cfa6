/** A room that is moved to another relay from the page, and people at both who go on in it. */

import { afterAll, beforeAll, expect, onTestFinished, test as vitest } from "vitest";

import { parseLink } from "../../src/e2e/invites.ts";
import { breachesOf } from "./axe.ts";
import { founder, Guest } from "./guest.ts";
import { missing, PATIENCE_MS, Relay } from "./world.ts";

const TEST_MS = 5 * PATIENCE_MS;
const test = vitest.skipIf(missing() !== "");

let relay: Relay;
let other: Relay;

beforeAll(async () => {
  if (missing() === "") [relay, other] = await Promise.all([Relay.start(), Relay.start()]);
}, TEST_MS);

afterAll(() => Promise.all([relay?.stop(), other?.stop()]));

const host = ({ url }: Relay) => new URL(url).host;

test("root moves the room; a member in a terminal and one in a browser follow; the old relay may go", {
  timeout: 2 * TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Travels");
  await relay.ofc("bo", "join", await guest.invite(), "--name", "Bo", "--timeout", "60");
  const cai = await Guest.arrive("Cai");
  onTestFinished(() => cai.leave());
  await cai.joinBy(await guest.invite());
  await cai.inside("Travels");
  await guest.invite(); // one that stays open
  await guest.closePanel();
  await guest.say("before the move");

  await cai.members();
  expect(await cai.page.getByText("Move the room to another relay").count()).toBe(0);
  await cai.closePanel();

  await guest.members();
  await page.getByText("Move the room to another relay").click();
  await page.getByText(`${host(relay)} orders this room`).waitFor();
  const form = page.locator(".panel details[open] form");
  await form.getByLabel("Address of the new relay").fill("ws://me@relay.example");
  await form.getByRole("button", { name: "Move the room" }).click();
  await form.getByText("An address of a relay begins with wss://").waitFor();
  await form.getByLabel("Address of the new relay").fill(other.url);
  await page.keyboard.press("Enter");
  await form.getByText(`Move the room to ${host(other)}, for everybody?`).waitFor();
  await form.getByRole("button", { name: "Cancel" }).click();
  expect(await page.getByText(`${host(relay)} orders this room`).count()).toBe(1);
  await form.getByRole("button", { name: "Move the room" }).click();
  await form.getByRole("button", { name: "Yes" }).click();
  await form.getByText(`The room is at ${host(other)} now`).waitFor();
  await page.getByText(`${host(other)} orders this room`).waitFor();
  await guest.closePanel();
  await page.getByText("You moved the room to another relay").waitFor();
  await cai.page.getByText("moved the room to another relay").waitFor();

  await guest.say("after the move");
  await cai.sees("after the move");
  await relay.ofc("bo", "send", "Travels", "heard in the terminal");
  await guest.sees("heard in the terminal");
  await page.getByRole("button", { name: "Invite" }).click();
  await page.getByRole("button", { name: "Make a link" }).waitFor();
  expect(await page.getByLabel("Invite link").count()).toBe(0); // what was open ended with the move
  const link = await guest.invite();
  expect(parseLink(link).relayUrl).toBe(other.url);
  await relay.ofc("dee", "join", link, "--name", "Dee", "--timeout", "60");
  await guest.closePanel();
  await page.getByRole("button", { name: "4 members" }).waitFor();

  await relay.away();
  await relay.ofc("dee", "send", "Travels", "without the old relay");
  await guest.sees("without the old relay");
  await guest.say("nor do I need it");
  const read = await relay.ofc("dee", "read", "Travels", "--limit", "1");
  expect(read.map(({ text }) => text)).toEqual(["nor do I need it"]);
  expect(complaints.filter((one) => !one.includes("ERR_CONNECTION_REFUSED"))).toEqual([]);
});

test("root has the room go on from a copy when its relay is gone for good, and reads what came to nothing", {
  timeout: 2 * TEST_MS,
}, async () => {
  const [old, copy] = await Promise.all([Relay.start(), Relay.start()]);
  onTestFinished(async () => void (await Promise.all([old.stop(), copy.stop()])));
  const { guest, page } = await founder(old, "Orchard");
  await old.ofc("bo", "join", await guest.invite(), "--name", "Bo", "--relay", copy.url);
  await guest.closePanel();
  await old.ofc("bo", "send", "Orchard", "through the copy");
  await guest.sees("through the copy");
  await copy.away();
  await guest.say("only at the old relay");
  await old.away();
  await copy.back();

  await guest.members();
  const { keyboard } = page;
  const press = async (place: string, words = "") => {
    await guest.tabTo(place);
    await keyboard.press("ControlOrMeta+A");
    await keyboard.type(words);
    await keyboard.press("Enter");
  };
  await press("The room's relay is gone for good");
  const form = page.locator(".panel details[open] form");
  const says = (words: RegExp) => form.getByRole("alert").filter({ hasText: words }).waitFor();
  await press("Address of a relay with a copy", old.url.replace("127.0.0.1", "localhost"));
  await says(/can not be reached/);
  await page.getByText("The room's relay is gone for good").focus();
  await press("Address of a relay with a copy", copy.url);
  await form.getByText("lacks 1 message that you have, 1 of yours").waitFor();
  expect(await breachesOf(page)).toEqual([]);
  await keyboard.press("Enter"); // the focus is on what does nothing
  await form.getByText("lacks 1 message").waitFor({ state: "detached" });
  await page.getByText("The room's relay is gone for good").focus();
  await press("It has to be a certain relay");
  await press("Id of that relay", "this one");
  await says(/64 characters/);
  await form.getByText("It has to be a certain relay").focus();
  await press("Id of that relay", "ab".repeat(32));
  await says(/Another relay answers/);
  await form.getByLabel("Id of that relay").fill("");
  await press("Look at its copy");
  await form.getByText("lacks 1 message that you have, 1 of yours").waitFor();
  await guest.tabTo("Yes", "Shift+Tab");
  await keyboard.press("Enter");
  await form.getByText(`The room is at ${host(copy)} now. Tell whoever`).waitFor();
  await guest.closePanel();

  await page.getByText("One thing of yours among them is sent again").waitFor();
  await guest.sees("only at the old relay");
  await page.getByText("Show what others have not sent again").click();
  await page.getByText("All of it has been sent again.").waitFor();
  expect(await breachesOf(page)).toEqual([]);
  await page.getByRole("button", { name: "Delete them from this browser" }).click();
  await page.getByRole("button", { name: "Yes" }).click();
  await page.getByText("One thing of yours").waitFor({ state: "detached" });
  const read = await old.ofc("bo", "read", "Orchard", "--limit", "20");
  const words = read.map(({ text }) => text).filter((one) => one !== undefined);
  expect(words).toEqual(expect.arrayContaining(["through the copy", "only at the old relay"]));
});
