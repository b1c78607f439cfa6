/** Loads the Themis core once for all tests. Its loader takes Node's fetch for a browser's. */

import { initialize } from "../src/themis/index.ts";

const { fetch } = globalThis;
Reflect.deleteProperty(globalThis, "fetch");
await initialize();
globalThis.fetch = fetch;
