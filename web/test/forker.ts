/** Before all tests: the process that forks programs of ours for them (tests/live/scripts/forking.py). */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The socket of the forker; "" where there is no Python to run one. */
    forker: string;
  }
}

export const ROOT = new URL("../../", import.meta.url).pathname;
export const PYTHON = process.env["PYTHON"] ?? join(ROOT, ".venv/bin/python");

export default async function setup({ provide }: TestProject): Promise<() => void> {
  provide("forker", "");
  if (!existsSync(PYTHON)) return () => undefined;
  const folder = mkdtempSync(join(tmpdir(), "ofc-forker-"));
  const path = join(folder, "socket");
  const forker = spawn(PYTHON, ["tests/live/scripts/forking.py", path], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  await Promise.race([once(forker.stdout, "data"), once(forker, "exit")]); // it listens
  provide("forker", path);
  return () => {
    forker.kill();
    rmSync(folder, { recursive: true, force: true });
  };
}
