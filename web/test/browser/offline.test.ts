/** The page without its relay, and from one version of it to the next. */

import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { expect, onTestFinished } from "vitest";

import { seal } from "../../seal.ts";
import { founder, Guest } from "./guest.ts";
import { kept, relay, TEST_MS, test } from "./scene.ts";

const DIST = new URL("../../dist/", import.meta.url).pathname;

test("a page that was open once opens without the relay: what was said is read, what is written waits", {
  timeout: TEST_MS,
}, async () => {
  const { guest, page, complaints } = await founder(relay, "Cellar");
  await guest.say("before the storm");
  await kept(page);
  expect(complaints).toEqual([]);

  await relay.away();
  await page.goto(relay.page);
  await guest.unlock();
  await page.getByRole("button", { name: /Cellar/ }).click();
  await guest.sees("before the storm");
  await guest.write("from the dark");
  await page.locator(".pending").getByText("from the dark").waitFor();
  await page.reload();
  await guest.unlock();
  await page.getByRole("button", { name: /Cellar/ }).click();
  await page.locator(".pending").getByText("from the dark").waitFor();
  await relay.back();
  await guest.sees("from the dark");

  // What is kept is the page's code, and nothing of what was said.
  const files = await page.evaluate(async () => {
    const [name] = await caches.keys();
    const cache = await caches.open(name as string);
    return (await cache.keys()).map(({ url }) => new URL(url).pathname);
  });
  expect(
    files.filter((path) => !/^\/(assets\/[\w-]+\.\w+|check\.html|icon\.svg)?$/.test(path)),
  ).toEqual([]);
});

const TYPES: Record<string, string> = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
  ".txt": "text/plain",
  ".wasm": "application/wasm",
};

/** Builds of the page, served under the relay's own headers; the one that is served now is `at`. */
async function serving(): Promise<{ url: string; at: { folder: string }; asked: string[] }> {
  const headers = (await fetch(relay.page)).headers;
  const fixed = ["content-security-policy", "cross-origin-embedder-policy"].map(
    (name) => [name, headers.get(name) ?? ""] as const,
  );
  const at = { folder: DIST };
  const asked: string[] = [];
  const server: Server = createServer(({ url = "/" }, answer) => {
    asked.push(url);
    try {
      const file = url === "/" ? "index.html" : url.slice(1);
      const body = readFileSync(join(at.folder, file));
      const type = TYPES[extname(file)] ?? "text/plain";
      answer.writeHead(
        200,
        [["content-type", type], ["cache-control", "no-cache"], ...fixed].flat(),
      );
      answer.end(body);
    } catch {
      answer.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  server.unref();
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, at, asked };
}

/** Another version of the page: its script has another name, and its title says which it is. */
function another(title: string): string {
  const folder = mkdtempSync(join(relay.folder, "build-"));
  cpSync(DIST, folder, { recursive: true });
  const script = readdirSync(join(folder, "assets")).find((name) => name.endsWith(".js")) as string;
  const renamed = script.replace(/-.*/, `-${title}.js`);
  renameSync(join(folder, "assets", script), join(folder, "assets", renamed));
  const page = join(folder, "index.html");
  const html = readFileSync(page, "utf-8")
    .replace(script, renamed)
    .replaceAll(/ integrity="[^"]*"/g, "")
    .replace("<title>ofc</title>", `<title>${title}</title>`);
  writeFileSync(page, html);
  const worker = join(folder, "sw.js");
  const blank = readFileSync(worker, "utf-8").replace(
    /JSON\.parse\(".*?[^\\]"\)/,
    'JSON.parse("%VERSION%")',
  );
  writeFileSync(worker, blank);
  seal(folder);
  return folder;
}

test("a new version waits until it is wanted and then is all there is; one that is not whole is never used", {
  timeout: TEST_MS,
}, async () => {
  const { url, at, asked } = await serving();
  const guest = await Guest.arrive();
  onTestFinished(() => guest.leave());
  const { page } = guest;
  await page.goto(url);
  await page.getByText("Choose a passphrase").waitFor();
  await kept(page);

  at.folder = another("second");
  asked.length = 0;
  await page.goto(url);
  await page.getByText("There is a new version of this page").waitFor();
  expect(await page.title()).toBe("ofc");
  // In another tab somebody is in the midst of something.
  const other = await guest.browser.newPage();
  await other.goto(url);
  const field = other.getByLabel("Passphrase", { exact: true });
  await field.fill("half typed");
  await other.evaluate(() => {
    const changed = new Promise((resolve) =>
      navigator.serviceWorker.addEventListener("controllerchange", resolve),
    );
    Object.assign(window, { changed });
  });
  await page.bringToFront();
  await page.getByRole("button", { name: "Use it now" }).click();
  await page.waitForFunction(() => document.title === "second");
  await other.evaluate(
    async () => void (await (window as unknown as { changed: unknown }).changed),
  );
  await other.bringToFront();
  await other.getByText("There is a new version of this page").waitFor();
  expect([await other.title(), await field.inputValue()]).toEqual(["ofc", "half typed"]);
  await other.getByRole("button", { name: "Use it now" }).click();
  await other.waitForFunction(() => document.title === "second");
  await other.close();
  await page.getByText("Choose a passphrase").waitFor();
  const scripts = await page.evaluate(() => [...document.scripts].map(({ src }) => src));
  expect(scripts).toEqual([`${url}assets/index-second.js`]);
  const caches_ = await page.evaluate(() => caches.keys());
  expect(caches_).toHaveLength(1);

  const broken = another("third");
  const file = join(broken, "assets/index-third.js");
  writeFileSync(file, `${readFileSync(file, "utf-8")}\n`);
  at.folder = broken;
  asked.length = 0;
  const failed = page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    const ended = new Promise<string>((resolve) => {
      registration?.addEventListener("updatefound", () => {
        const worker = registration.installing;
        worker?.addEventListener("statechange", () => resolve(worker.state));
      });
    });
    await registration?.update();
    return ended;
  });
  expect(await failed).toBe("redundant");
  expect(asked).toContain("/assets/index-third.js");
  await page.goto(url);
  await page.getByText("Choose a passphrase").waitFor();
  expect(await page.title()).toBe("second");
  // To open the page was to try again, in vain.
  await expect.poll(() => page.evaluate(() => caches.keys())).toEqual(caches_);
});
