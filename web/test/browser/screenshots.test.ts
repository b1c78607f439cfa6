/**
 * Pictures of each view, phone and desktop, light and dark, 320 pixels wide and at 200 %: `make
 * screenshots`. They are for people to look at; no test compares them.
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

import { LOOKS, tour } from "./tour.ts";
import { missing } from "./world.ts";

const folder = process.env["SCREENSHOTS"] ?? "";

test.skipIf(folder === "")(
  "each main view can be pictured",
  async () => {
    expect(missing()).toBe("");
    mkdirSync(folder, { recursive: true });
    await tour(Object.keys(LOOKS), async (page, look, view) => {
      await page.screenshot({ path: join(folder, `${look}-${view}.png`) });
    });
  },
  600_000,
);
