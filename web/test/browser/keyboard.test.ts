/** The keyboard alone, from view to view on a phone's width; and a person's own few colours. */

import type { Page } from "playwright-core";
import decodeQR from "qr/decode.js";
import { expect } from "vitest";

import { founder } from "./guest.ts";
import { relay, TEST_MS, test } from "./scene.ts";

/** What has the focus, by what it is called. */
const focused = (page: Page) =>
  page.evaluate(() => {
    const { activeElement } = document;
    return (activeElement?.ariaLabel || activeElement?.textContent || "").trim();
  });

/** What the QR code says that is on the screen. */
async function codeOn(page: Page): Promise<string> {
  const shot = (await page.locator(".qr").screenshot()).toString("base64");
  const { data, width, height } = await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes]));
    const { width, height } = image;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context?.drawImage(image, 0, 0);
    const drawn = context?.getImageData(0, 0, width, height).data;
    return { data: [...(drawn ?? [])], width, height };
  }, shot);
  return decodeQR({ data: Uint8Array.from(data), width, height });
}

test("an owner invites, reads, answers and removes by keyboard; each view gives the focus back", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Keys");
  const { keyboard } = page;
  const press = async (name: string, key: "Tab" | "Shift+Tab" = "Tab") => {
    await guest.tabTo(name, key);
    await keyboard.press("Enter");
  };
  await page.setViewportSize({ width: 390, height: 844 });
  await press("Invite");
  await press("Make a link");
  const link = page.getByLabel("Invite link");
  await link.waitFor();
  expect(await codeOn(page)).toBe(await link.inputValue());
  await keyboard.press("Escape");
  await page.locator(".panel").waitFor({ state: "detached" });
  await expect.poll(() => focused(page)).toBe("Invite");
  await press("Invite");
  await link.waitFor();
  await relay.ofc("bo", "join", await link.inputValue(), "--name", "Bo", "--timeout", "60");
  await press("Close", "Shift+Tab");
  await page.getByText("You let Bo in").waitFor();

  // A file is said by screen readers, too.
  await relay.ofc("bo", "send", "Keys", "--file", `${relay.folder}/config.toml`);
  await page.locator("p[aria-live]").getByText("Bo: config.toml", { exact: true }).waitFor();
  await relay.ofc("bo", "send", "Keys", "can you hear me?");
  await page.locator("p[aria-live]").getByText("Bo: can you hear me?", { exact: true }).waitFor();
  await guest.tabTo("Write a message");
  await press("What to do with this message", "Shift+Tab");
  await press("Reply");
  await page.getByText("Reply to Bo").waitFor();
  await keyboard.type("loud and clear"); // the field has the focus
  await keyboard.press("Enter");
  await guest.sees("loud and clear");

  // From the list into a room and back, where one view covers the other.
  await press("Back", "Shift+Tab");
  await page.getByRole("button", { name: "New room" }).waitFor();
  await expect.poll(() => focused(page)).toMatch(/^Keys/);
  await keyboard.press("Enter");
  await guest.inside("Keys");
  await expect.poll(() => focused(page)).toBe("Back");

  await press("2 members");
  await press("What to do with this member: Bo");
  await press("Remove");
  await page.locator(".sure").waitFor();
  await expect.poll(() => focused(page)).toBe("Cancel");
  await keyboard.press("Enter");
  await expect.poll(() => focused(page)).toBe("Remove");
  await keyboard.press("Enter");
  await page.locator(".sure").waitFor();
  await press("Yes", "Shift+Tab");
  await page.getByText("Room key number 2").waitFor();
  await expect.poll(() => focused(page)).toBe("Close"); // what had it is gone
  await keyboard.press("Escape");
  await page.locator(".panel").waitFor({ state: "detached" });
  await page.getByText("You removed Bo").waitFor();
  // Where both views stand side by side, one writes at once in a room that one has made.
  await press("Back", "Shift+Tab");
  await page.setViewportSize({ width: 1280, height: 800 });
  await press("New room", "Shift+Tab");
  await keyboard.type("Side");
  await keyboard.press("Tab");
  await keyboard.type("Webber");
  await keyboard.press("Enter");
  await guest.inside("Side");
  await expect.poll(() => focused(page)).toBe("Write a message");
  expect(complaints).toEqual([]);
});

test("where colours are a person's own, lines say what they said", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page } = await founder(relay, "Lines");
  await guest.say("mine");
  await page.getByLabel("What to do with this message").click();
  await page.locator(".menu .emoji").first().click();
  const reaction = page.locator('.reactions button[aria-pressed="true"]');
  await reaction.waitFor();
  const borders = () =>
    Promise.all([
      page
        .locator('.room[aria-current="true"]')
        .evaluate((one) => getComputedStyle(one).borderInlineStartWidth),
      reaction.evaluate((one) => getComputedStyle(one).borderTopWidth),
      page.locator(".mine .bubble").evaluate((one) => getComputedStyle(one).borderInlineEndWidth),
    ]);
  expect(await borders()).toEqual(["0px", "1px", "1px"]);
  await page.emulateMedia({ forcedColors: "active" });
  expect(await borders()).toEqual(["5px", "3px", "5px"]);
});
