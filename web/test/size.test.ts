/** What the first visit costs: to be paid on a phone, out in the country. */

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const DIST = new URL("../dist/", import.meta.url).pathname;
const MOST_BYTES = 1_000_000;

test.skipIf(!existsSync(DIST))("all but the encryption core is under 1 MB, compressed", () => {
  const files = readdirSync(DIST, { recursive: true, encoding: "utf-8" });
  const packed = files.filter((file) => file.endsWith(".gz") && !file.endsWith(".wasm.gz"));
  const bytes = packed.reduce((sum, file) => sum + statSync(join(DIST, file)).size, 0);
  expect(packed.length).toBeGreaterThanOrEqual(5);
  expect(bytes).toBeGreaterThan(100_000);
  expect(bytes).toBeLessThan(MOST_BYTES);
  // And no script comes that is not named, with its checksum, by the page or the worker.
  const told = readFileSync(join(DIST, "index.html"), "utf-8");
  const scripts = files.filter((file) => file.startsWith("assets/") && file.endsWith(".js"));
  for (const script of scripts) expect(told).toMatch(new RegExp(`${script}" integrity="sha384-`));
});
