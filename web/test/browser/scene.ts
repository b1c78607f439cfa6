/** What most files of browser tests begin with: a relay of their own, and no test where no browser is. */

import type { Page } from "playwright-core";
import { afterAll, beforeAll, test as vitest } from "vitest";

import { missing, PATIENCE_MS, Relay } from "./world.ts";

export const TEST_MS = 5 * PATIENCE_MS;
export const test = vitest.skipIf(missing() !== "");

/** Of the file that imports this; there once its first test begins. */
export let relay: Relay;

beforeAll(async () => {
  if (missing() === "") relay = await Relay.start();
}, TEST_MS);

afterAll(() => relay?.stop());

/** Waits until the browser keeps the page, to open without the relay. */
export const kept = (page: Page) =>
  page.evaluate(async () => void (await navigator.serviceWorker.ready));
