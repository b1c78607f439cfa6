import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/setup.ts"],
    globalSetup: ["test/forker.ts"],
    // A third of the tests' time is waiting for other processes: one file more at once than cores.
    maxWorkers: availableParallelism() + 1,
    // Nothing hangs on how busy the machine is.
    testTimeout: 60_000,
    expect: { poll: { timeout: 45_000 } },
    hookTimeout: 60_000, // a browser on a busy machine takes its time to end
  },
});
