/** QR codes before a camera: of an invite, and of a safety number. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import encodeQR from "qr";
import { expect, test as vitest } from "vitest";

import { Guest } from "./guest.ts";
import { complaintsOf, missing, openBrowser, PATIENCE_MS, PHONE, Relay } from "./world.ts";

const test = vitest.skipIf(missing() !== "");
const [WIDTH, HEIGHT] = [640, 480];

/** What a camera sees that looks at this code, as Y4M (YUV4MPEG2): the form that Chromium plays. */
function film(text: string): Buffer {
  const rows = encodeQR(text, "raw", { ecc: "low", border: 4 });
  const scale = Math.floor(HEIGHT / rows.length);
  const [left, top] = [WIDTH, HEIGHT].map((side) => Math.floor((side - scale * rows.length) / 2));
  const light = Buffer.alloc(WIDTH * HEIGHT, 200);
  for (let y = 0; y < scale * rows.length; y += 1) {
    for (let x = 0; x < scale * rows.length; x += 1) {
      const dark = rows[Math.floor(y / scale)]?.[Math.floor(x / scale)];
      if (dark) light[(y + (top as number)) * WIDTH + x + (left as number)] = 20;
    }
  }
  const grey = Buffer.alloc((WIDTH * HEIGHT) / 2, 128);
  const frame = Buffer.concat([Buffer.from("FRAME\n"), light, grey]);
  const head = `YUV4MPEG2 W${WIDTH} H${HEIGHT} F10:1 Ip A1:1 C420jpeg\n`;
  return Buffer.concat([Buffer.from(head), frame, frame, frame]);
}

test("an invite is read from another screen, and so is a number; another one is told", {
  timeout: 5 * PATIENCE_MS,
}, async () => {
  const relay = await Relay.start();
  const camera = join(relay.folder, "camera.y4m");
  writeFileSync(camera, film("nothing yet"));
  const flags = [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-video-capture=${camera}`,
  ];
  const guest = await Guest.in(await openBrowser(relay.folder, PHONE, flags));
  const { page } = guest;
  try {
    const complaints = complaintsOf(page);
    await relay.ana("create", "Scanned", "--relay", relay.url, "--name", "Ana");
    const link = await relay.invite("Scanned");
    relay.anaServes();
    await page.goto(relay.page);
    await guest.createVault();
    await page.getByRole("button", { name: "Join a room" }).click();
    writeFileSync(camera, film(link));
    await page.getByRole("button", { name: "Scan a QR code" }).click();
    await expect
      .poll(() => page.getByLabel("Invite link").inputValue(), { timeout: PATIENCE_MS })
      .toBe(link);
    await page.locator("video").waitFor({ state: "detached" });
    await page.getByLabel("Your name").fill("Bo");
    await page.getByRole("button", { name: "Join", exact: true }).click();
    await guest.inside("Scanned");

    await guest.members();
    await page.getByText("Safety number", { exact: true }).first().click();
    const number = (await page.locator(".digits").nth(1).textContent()) as string;
    await page.getByRole("button", { name: "Scan theirs" }).click(); // the camera sees the link still
    await page.getByText("That code says another number").waitFor();
    expect(await page.getByText("✓ compared").count()).toBe(0);
    writeFileSync(camera, film(number));
    await page.getByRole("button", { name: "Scan theirs" }).click();
    await page.getByText("✓ compared").waitFor();
    expect(await page.locator("video").count()).toBe(0);

    // Who leaves keeps what they had, and can say no more.
    await page.getByRole("button", { name: "Leave the room" }).click();
    await page.getByText("Leave for good?").waitFor();
    await page.locator(".panel .sure").getByRole("button", { name: "Yes" }).click();
    await guest.closePanel();
    await page.getByText("You are no longer in this room").waitFor();
    expect(await page.getByLabel("Write a message").count()).toBe(0);
    await page.getByText("Ana let you in").waitFor();
    expect(complaints).toEqual([]);
  } finally {
    await guest.leave();
    await relay.stop();
  }
});
