import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/setup.ts"],
    globalSetup: ["test/forker.ts"],
    // Most tests wait for other processes, and each file has its own.
    maxWorkers: Math.max(2, availableParallelism()),
    // Nothing hangs on how busy the machine is.
    testTimeout: 60_000,
    expect: { poll: { timeout: 45_000 } },
    hookTimeout: 60_000, // a browser on a busy machine takes its time to end
  },
});
