/**
 * Loads the Themis core once for all tests of a worker. Its loader takes Node's fetch for a browser's,
 * and hears of the whole process's faults to throw them once more: that would end a worker with all
 * its tests for one promise that nobody waits for, where vitest says which test it was.
 */

import { initialize } from "../src/themis/index.ts";

const FAULTS = ["uncaughtException", "unhandledRejection"];

/** Files that are not isolated from each other have one core, and run this each. */
const worker = globalThis as { isInitialized?: boolean };

async function initialized(): Promise<void> {
  const faults: NodeJS.EventEmitter = process;
  const { fetch } = globalThis;
  const before = FAULTS.map((fault) => faults.listeners(fault));
  Reflect.deleteProperty(globalThis, "fetch");
  await initialize();
  globalThis.fetch = fetch;
  for (const [at, fault] of FAULTS.entries()) {
    for (const added of faults.listeners(fault)) {
      if (!before[at]?.includes(added)) faults.removeListener(fault, added as () => void);
    }
  }
}

if (!worker.isInitialized) await initialized();
worker.isInitialized = true;
