/** Builds the page into dist/, which `ofcd` serves as it is (ofcd/daemon/web.py). Nothing is inline. */

import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

import { integrityOf, PAGES, seal } from "./seal.ts";

const HERE = import.meta.dirname;
const WORKER = "src/worker/worker.ts";
/** The encryption core's checksum, which the page gives to the fetch that loads it. */
const CORE = join(HERE, "node_modules/wasm-themis/dist-es6/libthemis.wasm");

const sealing: Plugin = {
  name: "ofc-seal",
  apply: "build",
  closeBundle: () => seal(join(HERE, "dist")),
};

export default defineConfig({
  base: "./",
  build: {
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    rolldownOptions: {
      input: [...PAGES, WORKER].map((entry) => join(HERE, entry)),
      output: {
        // A browser asks for the worker by one name, whatever it holds.
        entryFileNames: ({ name }) => (name === "worker" ? "sw.js" : "assets/[name]-[hash].js"),
      },
    },
  },
  define: { CORE_INTEGRITY: JSON.stringify(integrityOf(CORE)) },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  plugins: [sealing],
});
