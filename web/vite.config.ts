/**
 * Builds the page into dist/, which `ofcd` serves as it is (ofcd/daemon/web.py).
 *
 * Nothing inline, hashed names, a checksum in every tag, and a gzip form beside each file so that
 * the relay need not pack anything itself.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const DIST = join(import.meta.dirname, "dist");

/** `integrity` on every script, style and preload of index.html. */
function withIntegrity(html: string): string {
  return html.replace(/ (?:src|href)="\.\/(assets\/[^"]+\.(?:js|css))"/g, (tag, file: string) => {
    const digest = createHash("sha384")
      .update(readFileSync(join(DIST, file)))
      .digest("base64");
    return `${tag} integrity="sha384-${digest}"`;
  });
}

function seal(): Plugin {
  return {
    name: "ofc-integrity-and-gzip",
    apply: "build",
    closeBundle() {
      const index = join(DIST, "index.html");
      writeFileSync(index, withIntegrity(readFileSync(index, "utf-8")));
      for (const file of readdirSync(DIST, { recursive: true, withFileTypes: true })) {
        const path = join(file.parentPath, file.name);
        if (file.isFile()) writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  base: "./",
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022" },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [seal()],
});
