/** Each main view, checked with axe-core against WCAG 2.2 AA. */

import { expect, test } from "vitest";

import { breachesOf } from "./axe.ts";
import { tour } from "./tour.ts";
import { missing, PATIENCE_MS } from "./world.ts";

test.skipIf(missing() !== "")(
  "no view breaks a rule that axe can check, in the dark on a desktop, or in Spanish on a phone",
  async () => {
    const breaches: string[] = [];
    let views = 0;
    await tour(["desktop-dark", "phone-light"], async (page, look, view) => {
      views += 1;
      for (const each of await breachesOf(page)) breaches.push(`${look} ${view}: ${each}`);
    });
    expect(breaches).toEqual([]);
    expect(views).toBe(42);
  },
  6 * PATIENCE_MS,
);
