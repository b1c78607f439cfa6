/** Pictures: shown by what came with their messages, and fetched when they are wanted large. */

import type { Page } from "playwright-core";
import { expect, onTestFinished } from "vitest";

import { THUMB_BYTES } from "../../src/e2e/bodies.ts";
import { sizeOf } from "../../src/ui/pictures.ts";
import { founder, Guest } from "./guest.ts";
import { relay, TEST_MS, test } from "./scene.ts";
import { complaintsOf, requestsOf } from "./world.ts";

const MARKER = "Exif\0\0 taken at home, 52.52 N 13.40 E";

/** A photo of 1200 × 800 pixels as a camera makes it: a megabyte, and where it was taken. */
async function photo(page: Page): Promise<Buffer> {
  const drawn = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(1200, 800);
    const context = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
    const image = context.createImageData(1200, 800);
    for (let at = 0; at < image.data.length; at += 1) image.data[at] = Math.random() * 256;
    context.putImageData(image, 0, 0);
    const reader = new FileReader();
    reader.readAsDataURL(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 }));
    await new Promise((read) => reader.addEventListener("load", read));
    return String(reader.result).split(",")[1] as string;
  });
  const made = Buffer.from(drawn, "base64");
  const exif = Buffer.from(MARKER, "latin1");
  const head = Buffer.from([0xff, 0xe1, 0, exif.length + 2]);
  return Buffer.concat([made.subarray(0, 2), head, exif, made.subarray(2)]);
}

/** Send a picture, and wait until the room has it. */
async function show(page: Page, name: string, buffer: Buffer): Promise<void> {
  const file = { name, mimeType: "image/jpeg", buffer };
  await page.locator('input[type="file"]').setInputFiles(file);
  await page.locator(".message:not(.pending) .filename").getByText(name).waitFor();
}

/** Wait until the only picture of the page has this width. */
const wide = (page: Page, width: number) =>
  page.waitForFunction((wanted) => document.querySelector("canvas")?.width === wanted, width);

/** The thumbnail that Ana got with the newest file. */
async function gotByAna(room: string): Promise<Buffer> {
  const said = await relay.ana("read", room);
  const seq = said.findLast(({ kind }) => kind === "file")?.["seq"];
  const [thumb] = await relay.script("picturing", "ana", [[seq]]);
  return Buffer.from(thumb ?? "", "base64");
}

test("a thumbnail comes sealed with the message, without what a camera wrote; the file on a tap", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Album");
  const link = await guest.invite();
  await relay.ana("join", link, "--name", "Ana", "--timeout", "60");
  await guest.closePanel();
  const file = await photo(page);
  await show(page, "home.jpg", file);
  await wide(page, 360);
  const thumb = await gotByAna("Album");
  expect(sizeOf(thumb)).toEqual({ width: 360, height: 240 });
  expect(thumb.length).toBeLessThanOrEqual(THUMB_BYTES);
  expect(file.includes(MARKER)).toBe(true);
  expect(thumb.includes("Exif")).toBe(false);

  let received = 0;
  page.on("websocket", (socket) =>
    socket.on("framereceived", ({ payload }) => {
      received += payload.length;
    }),
  );
  await page.reload();
  await guest.unlock();
  await page.locator(".room").first().click();
  await wide(page, 360);
  await guest.say("how it looks");
  expect(received).toBeGreaterThan(0);
  expect(received).toBeLessThan(file.length / 2);
  await page.getByRole("button", { name: "Picture home.jpg: show it large" }).click();
  await wide(page, 1200);
  expect(received).toBeGreaterThan(file.length);
  await page.locator(".picture").press("Enter");
  await wide(page, 360);
  await page.locator(".picture").press("Enter");
  await wide(page, 1200);
  expect(received).toBeLessThan(2 * file.length);
  // On a phone, too, large is larger.
  await page.setViewportSize({ width: 390, height: 844 });
  const shown = () => page.locator("canvas").evaluate((one) => one.getBoundingClientRect().width);
  const large = await shown();
  await page.locator(".picture").press("Enter");
  await wide(page, 360);
  expect(large).toBeGreaterThan((await shown()) + 30);
  expect(complaints).toEqual([]);
});

test("a browser that gives noise for what was drawn sends none", {
  timeout: TEST_MS,
}, async () => {
  const guest = await Guest.arrive();
  onTestFinished(() => guest.leave());
  const { page } = guest;
  await page.addInitScript(() => {
    CanvasRenderingContext2D.prototype.getImageData = (_x, _y, width, height) => {
      const noise = new ImageData(width, height);
      for (let at = 0; at < noise.data.length; at += 1) noise.data[at] = Math.random() * 256;
      return noise;
    };
  });
  await relay.ofc("mo", "create", "Noise", "--relay", relay.url, "--name", "Mo");
  const [invite] = await relay.ofc("mo", "invite", "Noise");
  let isIn = false;
  const joined = guest
    .joinBy(invite?.["link"] as string)
    .then(() => guest.inside("Noise"))
    .then(() => {
      isIn = true;
    });
  // Who is let in needs Mo there meanwhile.
  for (let tries = 0; !isIn && tries < 12; tries += 1)
    await relay.ofc("mo", "send", "Noise", "come in");
  await joined;
  await show(page, "noise.jpg", await photo(page));
  const said = await relay.ofc("mo", "read", "Noise");
  const seq = said.findLast(({ kind }) => kind === "file")?.["seq"];
  expect(await relay.script("picturing", "mo", [[seq]])).toEqual([""]);
});

/** A PNG that claims so many pixels. */
const png = (side: number) =>
  Buffer.concat([
    Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"),
    Buffer.from(new Uint32Array([side, side]).buffer).swap32(),
    Buffer.alloc(40, 1),
  ]);

test("a thumbnail of somebody who means harm is not decoded, and takes nothing else along", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page } = await founder(relay, "Gallery");
  const link = await guest.invite();
  await relay.ofc("eve", "join", link, "--name", "Eve", "--timeout", "60");
  await guest.closePanel();
  const complaints = complaintsOf(page);
  const asked = requestsOf(page);
  await page.evaluate(() => {
    const { createImageBitmap } = window;
    const decoded: number[] = [];
    Object.assign(window, {
      decoded,
      createImageBitmap: (blob: Blob, options?: ImageBitmapOptions) => {
        decoded.push(blob.size);
        return createImageBitmap(blob, options);
      },
    });
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script>
    <image href="https://tracker.example/x"/></svg>`;
  const hostile = [png(20_000), png(513), Buffer.from(svg), Buffer.from("GIF89a"), Buffer.alloc(0)];
  const broken = png(8); // small enough to be tried
  await relay.script(
    "picturing",
    "eve",
    [...hostile, broken].map((one, at) => [`${at}.png`, one.toString("base64")]),
  );
  await page.locator(".filename").getByText("5.png").waitFor();
  const gone = page.getByText("This is no picture that can be shown");
  await gone.nth(hostile.length).waitFor();
  await guest.say("still here");
  const decoded = await page.evaluate(() => (window as unknown as { decoded: number[] }).decoded);
  expect(decoded).toEqual([broken.length]);
  expect(await page.locator("canvas").count()).toBe(0);
  expect(asked).toEqual([]);
  expect(complaints).toEqual([]);
});
