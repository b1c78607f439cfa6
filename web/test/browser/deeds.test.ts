/** What a person does beside writing: drop, paste, share, be told, hand a room over, close the page. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test as vitest } from "vitest";

import { Guest } from "./guest.ts";
import { complaintsOf, DESKTOP, missing, openBrowser, PATIENCE_MS, Relay } from "./world.ts";

const TEST_MS = 5 * PATIENCE_MS;
const test = vitest.skipIf(missing() !== "");

let relay: Relay;
let guest: Guest;
let invited: string;
const shared: { title?: string; url?: string }[] = [];

/** Webber's room, with Bo in it. */
beforeAll(async () => {
  if (missing() !== "") return;
  relay = await Relay.start();
  guest = await Guest.in(await openBrowser(relay.folder, DESKTOP), "Webber"); // only such are told
  const { browser, page } = guest;
  await browser.grantPermissions(["notifications", "clipboard-read", "clipboard-write"], {
    origin: new URL(relay.page).origin,
  });
  // No share sheet opens where there is no screen: what it would be given is looked at.
  await page.exposeFunction("toShare", (data: object) => void shared.push(data));
  await page.addInitScript(() => {
    Object.assign(navigator, {
      share: (data: object) => (window as unknown as { toShare(data: object): void }).toShare(data),
    });
  });
  await page.goto(relay.page);
  await guest.createVault();
  await guest.found("Deeds");
  invited = await guest.invite();
  await page.getByRole("button", { name: "Share" }).click();
  await relay.ofc("bo", "join", invited, "--name", "Bo", "--timeout", "60");
  await page.getByText("You let Bo in").waitFor();
  await guest.closePanel();
}, TEST_MS);

afterAll(async () => {
  await guest?.leave();
  await relay?.stop();
});

test("an invite is shared as what it is", { timeout: TEST_MS }, () => {
  expect(shared).toEqual([{ title: "Join me in Deeds", url: invited }]);
});

test("files are dropped and pasted, and arrive", { timeout: TEST_MS }, async () => {
  const { browser, page } = guest;
  const complaints = complaintsOf(page);
  const path = join(relay.folder, "dropped.txt");
  writeFileSync(path, "from another window");
  const session = await browser.newCDPSession(page);
  const data = { items: [], files: [path], dragOperationsMask: 1 };
  const drag = (type: "dragEnter" | "dragOver" | "drop") =>
    session.send("Input.dispatchDragEvent", { type, x: 700, y: 300, data });
  await drag("dragEnter");
  await drag("dragOver");
  await page.getByText("Drop it here to send it, sealed").waitFor();
  await drag("drop");
  await page.locator(".filename").getByText("dropped.txt").waitFor();
  await page.getByText("Drop it here to send it, sealed").waitFor({ state: "hidden" });

  await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(3, 2);
    canvas.getContext("2d")?.fillRect(0, 0, 3, 2);
    const picture = await canvas.convertToBlob({ type: "image/png" });
    await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
  });
  await page.getByLabel("Write a message").focus();
  await page.keyboard.press("Control+V");
  await page.locator(".filename").getByText(".png").waitFor();
  await expect
    .poll(() => page.locator("canvas").evaluate((one) => (one as HTMLCanvasElement).width), {
      timeout: PATIENCE_MS,
    })
    .toBe(3);
  // What is not for the room stays out of it: words are pasted as words.
  await page.evaluate(() => navigator.clipboard.writeText("pasted words"));
  await page.keyboard.press("Control+V");
  await page.keyboard.press("Enter");
  await guest.sees("pasted words");
  const read = JSON.stringify(await relay.ofc("bo", "read", "Deeds"));
  expect(read).toContain("dropped.txt");
  expect(complaints).toEqual([]);
});

test("who asked for it is told of a message while not looking, and not what it says", {
  timeout: TEST_MS,
}, async () => {
  const { page } = guest;
  // Chromium itself is not asked what it shows: it forgets what it is asked for just as it draws it.
  await page.evaluate(() => {
    const told: object[] = [];
    Object.assign(window, { told });
    const { prototype } = ServiceWorkerRegistration;
    const { showNotification } = prototype;
    prototype.showNotification = async function (title, options) {
      await showNotification.call(this, title, options);
      told.push({ title, ...options });
    };
  });
  const told = () => page.evaluate(() => (window as unknown as { told: object[] }).told);
  const look = (state: "hidden" | "visible") =>
    page.evaluate((now) => {
      Object.defineProperty(document, "visibilityState", { get: () => now, configurable: true });
    }, state);
  await look("hidden");
  await relay.ofc("bo", "send", "Deeds", "before it was asked for");
  await guest.sees("before it was asked for");
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Tell me of new messages when I am not looking").check();
  await page.getByRole("button", { name: /^Deeds/ }).click();
  expect(await told()).toEqual([]);
  await relay.ofc("bo", "send", "Deeds", "a secret");
  // Of one tag, a browser shows only the last; nothing else is said.
  const tag = expect.stringMatching(/^[0-9a-f]{64}$/);
  const one = { title: "New message in Deeds", tag };
  await expect.poll(told, { timeout: PATIENCE_MS }).toEqual([one]);
  await relay.ofc("bo", "send", "Deeds", "@Webber another secret");
  await expect.poll(told, { timeout: PATIENCE_MS }).toEqual([one, one]);
  await look("visible");
  await relay.ofc("bo", "send", "Deeds", "seen at once");
  await guest.sees("seen at once");
  expect(await told()).toEqual([one, one]);
});

/** How many pieces of files on their way the vault holds. */
const piecesOf = ({ page }: Guest) =>
  page.evaluate(async () => {
    const settled = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve) => {
        request.onsuccess = () => resolve(request.result);
      });
    const database = await settled(indexedDB.open("ofc"));
    const records = database.transaction("records").objectStore("records");
    const keys = await settled(records.getAllKeys());
    database.close();
    return keys.filter((key) => String(key).includes("archive/upload/")).length;
  });

test("a file goes on after the page was closed", { timeout: TEST_MS }, async () => {
  const { page } = guest;
  await relay.freeze();
  try {
    await page.locator('input[type="file"]').setInputFiles({
      name: "seeds.txt",
      mimeType: "text/plain",
      buffer: Buffer.alloc(600_000, "beans and peas\n"),
    });
    await page.getByText("Sending seeds.txt").waitFor();
    // All of it is sealed into the vault: three pieces.
    await expect.poll(() => piecesOf(guest), { timeout: PATIENCE_MS }).toBe(3);
    await page.reload();
    await guest.unlock();
    await page.getByRole("button", { name: /^Deeds/ }).click();
    await page.getByText("Sending seeds.txt").waitFor();
  } finally {
    await relay.thaw();
  }
  await page.locator(".filename").getByText("seeds.txt").waitFor();
  await page.getByText("Sending seeds.txt").waitFor({ state: "hidden" });
});

test("the room is handed over, and taken over again", { timeout: TEST_MS }, async () => {
  const { page } = guest;
  await guest.members();
  await guest.power("Bo", "Hand the room over", "Yes");
  await relay.ofc("bo", "hand-over", "Deeds", "--accept");
  await page.getByText("You handed the room over to Bo").waitFor();
  const webber = page
    .locator(".panel li")
    .filter({ has: page.getByText("Webber", { exact: true }) });
  expect(await webber.getByText("owner", { exact: true }).count()).toBe(0);
  const done = relay.ofc("bo", "hand-over", "Deeds", "Webber");
  await page.getByText("Bo offers you this room").waitFor();
  await page.getByRole("button", { name: "Take it over" }).click();
  await done;
  await page.getByText("Bo handed the room over to you").waitFor();
  await webber.getByText("owner", { exact: true }).waitFor();
});

test("what was not read is counted, and where it begins is marked", {
  timeout: TEST_MS,
}, async () => {
  const { page } = guest;
  await guest.closePanel();
  await page.getByRole("button", { name: "Settings" }).click();
  for (const words of ["while you", "were away"]) await relay.ofc("bo", "send", "Deeds", words);
  const row = page.getByRole("button", { name: /^Deeds.*2 unread$/ });
  await row.waitFor();
  await row.click();
  await page.locator(".day.unread").getByText("New messages").waitFor();
  await page.locator(".day").getByText("Today", { exact: true }).waitFor();
  await page.getByRole("button", { name: /unread/ }).waitFor({ state: "detached" });
});
