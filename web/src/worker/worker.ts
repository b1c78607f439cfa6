/**
 * The service worker: it keeps one whole version of the page's files, each with the checksum that it
 * had when it was built, so that the page opens without a relay.
 *
 * A version is kept as a whole or not at all, and whoever is served by it gets all of it and nothing
 * of any other. A new one waits until the person says so, or no tab has the page open any more.
 */

import { type Kept, pathIn, type Version } from "./kept.ts";

/** What is used of a service worker's own world, which no library of the page's describes. */
interface Scope {
  readonly registration: { readonly scope: string };
  readonly caches: CacheStorage;
  readonly clients: {
    matchAll(wanted: { type: "window"; includeUncontrolled: true }): Promise<readonly Tab[]>;
    openWindow(url: string): Promise<unknown>;
  };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", heard: (event: Lasting) => void): void;
  addEventListener(type: "message", heard: (event: MessageEvent) => void): void;
  addEventListener(type: "fetch", heard: (event: Asked) => void): void;
  addEventListener(type: "notificationclick", heard: (event: Pressed) => void): void;
}
interface Tab {
  focus(): Promise<unknown>;
}
interface Lasting {
  waitUntil(done: Promise<unknown>): void;
}
interface Pressed extends Lasting {
  readonly notification: { close(): void };
}
interface Asked {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}

const scope = self as unknown as Scope;
/** Put here by the build (vite.config.ts). */
const { version, files } = JSON.parse("%VERSION%") as Version;
const PREFIX = "ofc-page ";
const cacheName = PREFIX + version;

const addressOf = (file: string) =>
  new URL(file === "index.html" ? "./" : file, scope.registration.scope).href;

/** All files as they were built, or none. */
async function install(): Promise<void> {
  const cache = await scope.caches.open(cacheName);
  const entries = Object.entries(files);
  const all = await Promise.allSettled(entries.map(([file, sum]) => fetchInto(cache, file, sum)));
  const failed = all.find((one) => one.status === "rejected");
  if (failed === undefined) return;
  await scope.caches.delete(cacheName);
  throw failed.reason;
}

async function fetchInto(cache: Cache, file: string, integrity: string): Promise<void> {
  // What is named after its content the page may just have fetched; the rest is asked for anew.
  const mode = file.startsWith("assets/") ? "default" : "no-cache";
  const answer = await fetch(addressOf(file), { integrity, cache: mode, redirect: "error" });
  if (!answer.ok) throw new TypeError(`${file} is not there`);
  await cache.put(addressOf(file), answer);
}

async function forgetOthers(): Promise<void> {
  const names = await scope.caches.keys();
  const old = names.filter((name) => name.startsWith(PREFIX) && name !== cacheName);
  await Promise.all(old.map((name) => scope.caches.delete(name)));
}

/** A file of this version; where the browser has thrown it away, whatever the relay has under it. */
async function answer(request: Request, file: Kept): Promise<Response> {
  // To open it would make it anew, where it was forgotten.
  const found = await scope.caches.match(addressOf(file), { cacheName });
  return found ?? fetch(request);
}

scope.addEventListener("install", (event) => event.waitUntil(install()));
scope.addEventListener("activate", (event) => event.waitUntil(forgetOthers()));
scope.addEventListener("message", ({ data }) => {
  if (data === "use the new version") void scope.skipWaiting();
});
scope.addEventListener("fetch", (event) => {
  const file = pathIn(files, event.request, scope.registration.scope);
  if (file !== undefined) event.respondWith(answer(event.request, file));
});

/** Whoever presses a notice wants to see the page. */
async function showPage(): Promise<void> {
  const [tab] = await scope.clients.matchAll({ type: "window", includeUncontrolled: true });
  await (tab?.focus() ?? scope.clients.openWindow(scope.registration.scope));
}

scope.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(showPage());
});
