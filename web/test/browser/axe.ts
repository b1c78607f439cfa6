/** What axe-core finds against WCAG 2.2 AA. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";

const SOURCE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** One line for each breach: the rule, and where. */
export async function breachesOf(page: Page): Promise<string[]> {
  // Through the debugger, which the page's own policy does not bind.
  await page.evaluate(readFileSync(SOURCE, "utf-8"));
  const found = await page.evaluate<AxeResults>(
    `axe.run({ runOnly: ${JSON.stringify(RULES)}, resultTypes: ["violations"] })`,
  );
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(" ")}`),
  );
}
