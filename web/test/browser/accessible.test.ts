/** Each main view, checked with axe-core against WCAG 2.2 AA. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";

import { tour } from "./tour.ts";
import { missing, PATIENCE_MS } from "./world.ts";

const SOURCE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** One line for each breach: the rule, and where. */
async function breachesOf(page: Page): Promise<string[]> {
  // Through the debugger, which the page's own policy does not bind.
  await page.evaluate(readFileSync(SOURCE, "utf-8"));
  const found = await page.evaluate<AxeResults>(
    `axe.run({ runOnly: ${JSON.stringify(RULES)}, resultTypes: ["violations"] })`,
  );
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(" ")}`),
  );
}

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
