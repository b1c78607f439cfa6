/** What browsers keep of a page's fields: see test/browser/disk.test.ts. */

import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const VIEWS = new URL("../../src/ui/", import.meta.url);

test("every field in which words or choices stand says whether the browser may keep them", () => {
  const fields = readdirSync(VIEWS)
    .filter((name) => name.endsWith(".tsx"))
    .flatMap((name) => {
      const code = readFileSync(new URL(name, VIEWS), "utf8");
      return [...code.matchAll(/<(?:textarea|input|select)\b[\s\S]*?(?:\/>|\n\s*>)/gu)].map(
        ([field]) => `${name}: ${field}`,
      );
    })
    .filter((field) => !/type="(?:file|checkbox)"/u.test(field));
  expect(fields.length).toBeGreaterThan(5);
  expect(fields.filter((field) => !field.includes("autocomplete="))).toEqual([]);
});
