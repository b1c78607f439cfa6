/** Each main view, checked with axe-core against WCAG 2.2 AA, and for what does not fit its width. */

import type { Page } from "playwright-core";
import { expect, test } from "vitest";

import { breachesOf } from "./axe.ts";
import { LOOKS, tour } from "./tour.ts";
import { type Look, missing, PATIENCE_MS } from "./world.ts";

/** As if the window were another one, once that is drawn. */
async function turn(page: Page, look: string): Promise<void> {
  const { viewport, colorScheme } = LOOKS[look] as Look;
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme });
  await page.evaluate(
    () => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))),
  );
}

/** What can only be read by scrolling to the side, code aside; and what stands beyond the edge. */
const wideOf = (page: Page): Promise<string[]> =>
  page.evaluate(() =>
    [...document.querySelectorAll("*:not(pre, pre *, .unseen, .unseen *)")].flatMap((one) => {
      const { scrollWidth, clientWidth, className, tagName } = one as HTMLElement;
      const { overflowX } = getComputedStyle(one);
      const scrolls = ["auto", "scroll"].includes(overflowX) && scrollWidth > clientWidth;
      const isBeyond = one.getBoundingClientRect().right > innerWidth + 1;
      return scrolls || isBeyond ? [`too wide: ${tagName} ${className}`] : [];
    }),
  );

test.skipIf(missing() !== "")(
  "no view breaks a rule that axe can check, 320 pixels wide, or dark on a desktop; all fits, in Spanish",
  async () => {
    const breaches: string[] = [];
    let views = 0;
    // One walk: each view is turned to the other look, and back.
    await tour(["narrow"], async (page, _, view) => {
      for (const look of ["narrow", "desktop-dark"]) {
        await turn(page, look);
        views += 1;
        for (const each of [...(await breachesOf(page)), ...(await wideOf(page))])
          breaches.push(`${look} ${view}: ${each}`);
      }
      await turn(page, "narrow");
    });
    expect(breaches).toEqual([]);
    expect(views).toBe(58);
  },
  10 * PATIENCE_MS,
);
