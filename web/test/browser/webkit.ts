/**
 * WebKit, the engine of Safari, as Debian builds it for GTK: by WebDriver (w3.org/TR/webdriver2), on
 * a screen of its own, since it has no way to run without one.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";

import { Engine, keyboard } from "./engine.ts";
import { PATIENCE_MS } from "./world.ts";

const DRIVER = "/usr/bin/WebKitWebDriver";
const SCREEN = "/usr/bin/Xvfb";
const POLL_MS = 100;
const WINDOW = { x: 0, y: 0, width: 1280, height: 800 };

export const hasWebKit = (): boolean => existsSync(DRIVER) && existsSync(SCREEN);

export class WebKit extends Engine {
  private session = "";

  private constructor(
    private readonly address: string,
    private readonly processes: readonly ChildProcess[],
  ) {
    super();
  }

  static async start(folder: string): Promise<WebKit> {
    const home = mkdtempSync(join(folder, "webkit-"));
    const screen = spawn(
      SCREEN,
      ["-displayfd", "3", "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
      {
        stdio: ["ignore", "ignore", "ignore", "pipe"],
      },
    );
    const number = await firstLine(screen.stdio[3] as Readable);
    const port = await freePort();
    const driver = spawn(DRIVER, [`--port=${port}`], {
      env: { ...process.env, DISPLAY: `:${number}`, HOME: home, XDG_RUNTIME_DIR: home },
      stdio: "ignore",
    });
    const webkit = new WebKit(`http://127.0.0.1:${port}`, [driver, screen]);
    await webkit.begin();
    return webkit;
  }

  async open(url: string): Promise<void> {
    await this.ask("POST", "/url", { url });
  }

  async value<T>(expression: string): Promise<T> {
    const script =
      "const done = arguments[arguments.length - 1];" +
      `(async () => (${expression}))().then((value) => done({ value }),` +
      " (error) => done({ error: String(error) }));";
    const found = (await this.ask("POST", "/execute/async", { script, args: [] })) as {
      value?: T;
      error?: string;
    };
    if (found.error !== undefined) throw new Error(found.error);
    return found.value as T;
  }

  protected async press(keys: readonly string[]): Promise<void> {
    await this.ask("POST", "/actions", { actions: [keyboard(keys)] });
  }

  async stop(): Promise<void> {
    await this.ask("DELETE", "", undefined).catch(() => undefined);
    for (const one of this.processes) one.kill();
  }

  /** Waits for the driver, and opens a window. */
  private async begin(): Promise<void> {
    const end = Date.now() + PATIENCE_MS;
    while (!(await fetch(`${this.address}/status`).catch(() => undefined))?.ok) {
      if (Date.now() > end) throw new Error("WebKitWebDriver does not answer");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    const made = await request("POST", `${this.address}/session`, { capabilities: {} });
    this.session = (made as { sessionId: string }).sessionId;
    await this.ask("POST", "/window/rect", WINDOW);
  }

  private ask(method: string, path: string, body: object | undefined): Promise<unknown> {
    return request(method, `${this.address}/session/${this.session}${path}`, body);
  }
}

async function request(method: string, url: string, body: object | undefined): Promise<unknown> {
  const answer = await fetch(url, {
    method,
    body: body === undefined ? null : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const { value } = (await answer.json()) as { value: unknown };
  if (!answer.ok) throw new Error(`${method} ${url}: ${JSON.stringify(value)}`);
  return value;
}

const firstLine = (stream: Readable): Promise<string> =>
  new Promise((resolve, reject) => {
    let said = "";
    stream.on("data", (chunk) => {
      said += chunk;
      if (said.includes("\n")) resolve(said.trim());
    });
    stream.on("end", () => reject(new Error("Xvfb has no screen")));
  });

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
