/** Each main view, checked with axe-core against WCAG 2.2 AA, and for what does not fit its width. */

import type { Page } from "playwright-core";
import { expect, test } from "vitest";

import { breachesOf } from "./axe.ts";
import { tour } from "./tour.ts";
import { missing, PATIENCE_MS } from "./world.ts";

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
  "no view breaks a rule that axe can check, dark on a desktop, or in Spanish 320 pixels wide; all fits",
  async () => {
    const breaches: string[] = [];
    let views = 0;
    await tour(["desktop-dark", "narrow"], async (page, look, view) => {
      views += 1;
      for (const each of [...(await breachesOf(page)), ...(await wideOf(page))])
        breaches.push(`${look} ${view}: ${each}`);
    });
    expect(breaches).toEqual([]);
    expect(views).toBe(58);
  },
  10 * PATIENCE_MS,
);
