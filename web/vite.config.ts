/**
 * Builds the page into dist/, which `ofcd` serves as it is (ofcd/daemon/web.py).
 *
 * Nothing inline, hashed names, a checksum in every tag, and a gzip form beside each file so that
 * the relay need not pack anything itself.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const DIST = join(import.meta.dirname, "dist");
const PAGES = ["index.html", "check.html"];

const integrityOf = (file: string) =>
  `sha384-${createHash("sha384").update(readFileSync(file)).digest("base64")}`;

/** The encryption core's checksum, which the page gives to the fetch that loads it. */
const CORE = join(import.meta.dirname, "node_modules/wasm-themis/dist-es6/libthemis.wasm");

/** `integrity` on every script, style and preload of a page. */
const withIntegrity = (html: string): string =>
  html.replace(
    / (?:src|href)="\.\/(assets\/[^"]+\.(?:js|css))"/g,
    (tag, file: string) => `${tag} integrity="${integrityOf(join(DIST, file))}"`,
  );

/** Every file of dist/ but `ending`s, by its path there. */
const built = (ending: string): string[] =>
  readdirSync(DIST, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile() && !file.name.endsWith(ending))
    .map((file) => relative(DIST, join(file.parentPath, file.name)))
    .sort();

/** As `sha256sum -c` reads it. */
const sums = (): string =>
  built(".gz")
    .map((file) => {
      const digest = createHash("sha256").update(readFileSync(join(DIST, file)));
      return `${digest.digest("hex")}  ${file}\n`;
    })
    .join("");

function seal(): Plugin {
  return {
    name: "ofc-integrity-and-gzip",
    apply: "build",
    closeBundle() {
      for (const page of PAGES) {
        const path = join(DIST, page);
        writeFileSync(path, withIntegrity(readFileSync(path, "utf-8")));
      }
      writeFileSync(join(DIST, "SHA256SUMS.txt"), sums());
      for (const file of built(".gz")) {
        const path = join(DIST, file);
        writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  base: "./",
  build: {
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    rolldownOptions: { input: PAGES.map((page) => join(import.meta.dirname, page)) },
  },
  define: { CORE_INTEGRITY: JSON.stringify(integrityOf(CORE)) },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [seal()],
});
