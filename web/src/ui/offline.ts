/**
 * The page without a relay: its service worker (src/worker/worker.ts), and the way from one version
 * of the page to the next.
 */

import { useEffect, useState } from "preact/hooks";

const WORKER = "./sw.js";
const USE_IT = "use the new version";
/** How often an open page asks whether there is a new version of it. */
const ASK_EACH_MS = 3_600_000;
/** So long a browser may take to let go of the page. */
const FORGET_MS = 5_000;

interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL(url: string): string },
  ): {
    createScriptURL(url: string): string;
  };
}

/** The one script address that is ever made: the relay's policy allows no other (daemon/web.py). */
function workerUrl(): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  if (trustedTypes === undefined) return WORKER;
  const policy = trustedTypes.createPolicy("ofc-worker", { createScriptURL: () => WORKER });
  return policy.createScriptURL(WORKER);
}

/** Keep the page in this browser; undefined where the browser does not let it. */
async function keepPage(): Promise<ServiceWorkerRegistration | undefined> {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return undefined;
  try {
    return await navigator.serviceWorker.register(workerUrl(), { updateViaCache: "none" });
  } catch {
    return undefined; // a private window, or a person's own choice: it works, while the relay is there
  }
}

let registration: Promise<ServiceWorkerRegistration | undefined> | undefined;
/** The new version was asked for in this tab. */
let isWanted = false;

/** How to change to the new version of the page; undefined while there is none. */
export function useNewVersion(): (() => void) | undefined {
  const [waiting, setWaiting] = useState<ServiceWorker>();
  const [isReplaced, setReplaced] = useState(false);
  useEffect(() => {
    let stop = () => {};
    let isOver = false;
    registration ??= keepPage();
    void registration.then((kept) => {
      if (kept === undefined || isOver) return;
      stop = follow(kept, setWaiting, () => setReplaced(true));
    });
    return () => {
      isOver = true;
      stop();
    };
  }, []);
  if (isReplaced) return () => location.reload();
  if (waiting === undefined) return undefined;
  return () => {
    isWanted = true;
    waiting.postMessage(USE_IT);
  };
}

/**
 * Calls `onWaiting` with each version that waits for its turn, and `onReplaced` once another tab has
 * let one have it; returns how to stop.
 */
function follow(
  kept: ServiceWorkerRegistration,
  onWaiting: (worker: ServiceWorker) => void,
  onReplaced: () => void,
): () => void {
  const { serviceWorker } = navigator;
  const look = () => {
    // Without one that is in use, there is nothing to change from.
    if (kept.waiting !== null && serviceWorker.controller !== null) onWaiting(kept.waiting);
  };
  const found = () => kept.installing?.addEventListener("statechange", look);
  const hadOne = serviceWorker.controller !== null;
  const changed = () => {
    if (!hadOne) return;
    if (isWanted) location.reload();
    // Words that are not sent may stand here, and files be on their way: whoever is here says when. All
    // of the page is loaded, and so of one version.
    else onReplaced();
  };
  kept.addEventListener("updatefound", found);
  serviceWorker.addEventListener("controllerchange", changed);
  const timer = setInterval(() => void kept.update().catch(() => undefined), ASK_EACH_MS);
  look();
  found();
  return () => {
    kept.removeEventListener("updatefound", found);
    serviceWorker.removeEventListener("controllerchange", changed);
    clearInterval(timer);
  };
}

/**
 * Keep the page no more, nor show any notice of it, as far as the browser lets that be done. Chromium
 * may say nothing for long of a worker that it was told to let go: it is not waited for without end.
 */
export async function forgetPage(): Promise<void> {
  const kept = await navigator.serviceWorker?.getRegistration().catch(() => undefined);
  const parts = [
    async () => {
      for (const notice of (await kept?.getNotifications()) ?? []) notice.close();
    },
    async () => kept?.unregister(),
    async () => {
      for (const name of await caches.keys()) await caches.delete(name);
    },
  ];
  const done = Promise.allSettled(parts.map((part) => part()));
  await Promise.race([done, new Promise((resolve) => setTimeout(resolve, FORGET_MS))]);
}
