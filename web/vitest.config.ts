import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const OF_PROGRAMS = ["test/browser/**/*.test.ts", "test/live/**/*.test.ts"];

export default defineConfig({
  test: {
    setupFiles: ["test/setup.ts"],
    // A third of the tests' time is waiting for other processes: one file more at once than cores.
    maxWorkers: availableParallelism() + 1,
    // Nothing hangs on how busy the machine is.
    testTimeout: 60_000,
    expect: { poll: { timeout: 45_000 } },
    hookTimeout: 60_000, // a browser on a busy machine takes its time to end
    projects: [
      {
        extends: true,
        // To load the modules and the core anew for each file would cost as much as its tests.
        test: {
          name: "memory",
          include: ["test/**/*.test.ts"],
          exclude: OF_PROGRAMS,
          isolate: false,
        },
      },
      {
        extends: true,
        test: { name: "programs", include: OF_PROGRAMS, globalSetup: ["test/forker.ts"] },
      },
    ],
  },
});
