/**
 * What makes of built files what is served: a checksum in every tag, a service worker that knows the
 * checksum of every file, a list of them all, and a gzip form beside each so that the relay need not
 * pack anything itself.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";

export const PAGES = ["index.html", "check.html"];
const SUMS = "SHA256SUMS.txt";
const WORKER = "sw.js";
/** Whoever checks what is served now wants it from the relay. */
const NOT_KEPT = [SUMS, WORKER];

/** A file's checksum as `integrity` has it. */
export const integrityOf = (file: string): string =>
  `sha384-${createHash("sha384").update(readFileSync(file)).digest("base64")}`;

/** Seals the build in `folder`; its files are as they are to be served, but for the checksums. */
export function seal(folder: string): void {
  for (const page of PAGES) {
    const path = join(folder, page);
    writeFileSync(path, withIntegrity(folder, readFileSync(path, "utf-8")));
  }
  fillWorker(folder);
  writeFileSync(join(folder, SUMS), sums(folder));
  for (const file of built(folder)) {
    const path = join(folder, file);
    writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
  }
}

/** `integrity` on every script, style and preload of a page. */
const withIntegrity = (folder: string, html: string): string =>
  html.replace(
    / (?:src|href)="\.\/(assets\/[^"]+\.(?:js|css))"/g,
    (tag, file: string) => `${tag} integrity="${integrityOf(join(folder, file))}"`,
  );

/** Every file of the folder but the packed forms, by its path there. */
const built = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile() && !file.name.endsWith(".gz"))
    .map((file) => relative(folder, join(file.parentPath, file.name)))
    .sort();

/** The service worker, told of all files that it is to keep. */
function fillWorker(folder: string): void {
  const path = join(folder, WORKER);
  const kept = built(folder).filter((file) => !NOT_KEPT.includes(file));
  const files = Object.fromEntries(kept.map((file) => [file, integrityOf(join(folder, file))]));
  const version = createHash("sha256").update(JSON.stringify(files)).digest("hex");
  const told = JSON.stringify(JSON.stringify({ version, files }));
  const filled = readFileSync(path, "utf-8").replace(/["'`]%VERSION%["'`]/, () => told);
  if (!filled.includes(version)) throw new Error("the worker has no place for its version");
  writeFileSync(path, filled);
}

/** As `sha256sum -c` reads it. */
const sums = (folder: string): string =>
  built(folder)
    .map((file) => {
      const digest = createHash("sha256").update(readFileSync(join(folder, file)));
      return `${digest.digest("hex")}  ${file}\n`;
    })
    .join("");
