/**
 * Debian's Firefox, by WebDriver BiDi (w3.org/TR/webdriver-bidi): Playwright can only drive a
 * Firefox of its own making, and Debian has no geckodriver.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { WebSocket } from "ws";

import { Engine, keyboard } from "./engine.ts";
import { PATIENCE_MS } from "./world.ts";

const FIREFOX = "/usr/bin/firefox-esr";
/** Nothing of its own is asked of anybody: only what the page asks. */
const PREFERENCES = {
  "app.normandy.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "toolkit.telemetry.enabled": false,
  "intl.accept_languages": "en-GB, en",
};

export const hasFirefox = (): boolean => existsSync(FIREFOX);

interface Answer {
  readonly id?: number;
  readonly type: string;
  readonly result?: unknown;
  readonly message?: string;
}

interface Evaluated {
  readonly type: string;
  readonly result?: { readonly value?: unknown };
  readonly exceptionDetails?: { readonly text: string };
}

export class Firefox extends Engine {
  private next = 0;
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private context = "";

  private constructor(
    private readonly process: ChildProcess,
    private readonly socket: WebSocket,
  ) {
    super();
    socket.on("message", (raw) => {
      const answer = JSON.parse(String(raw)) as Answer;
      if (answer.id !== undefined) this.waiting.get(answer.id)?.(answer);
    });
  }

  static async start(folder: string): Promise<Firefox> {
    const profile = mkdtempSync(join(folder, "firefox-"));
    const lines = Object.entries(PREFERENCES).map(
      ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
    );
    writeFileSync(join(profile, "user.js"), lines.join(""));
    const args = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0"];
    const process_ = spawn(FIREFOX, args, { env: { ...process.env, HOME: profile } });
    const url = await addressOf(process_);
    const socket = new WebSocket(`${url}/session`);
    await new Promise((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    const firefox = new Firefox(process_, socket);
    await firefox.ask("session.new", { capabilities: {} });
    const { contexts } = (await firefox.ask("browsingContext.getTree", {})) as {
      contexts: { context: string }[];
    };
    firefox.context = contexts[0]?.context ?? "";
    return firefox;
  }

  async open(url: string): Promise<void> {
    await this.ask("browsingContext.navigate", { context: this.context, url, wait: "complete" });
  }

  /** The value of an expression in the page. */
  async value<T>(expression: string): Promise<T> {
    const found = (await this.ask("script.evaluate", {
      expression: `(async () => (${expression}))()`,
      target: { context: this.context },
      awaitPromise: true,
    })) as Evaluated;
    if (found.type !== "success") throw new Error(found.exceptionDetails?.text ?? found.type);
    return found.result?.value as T;
  }

  protected async press(keys: readonly string[]): Promise<void> {
    await this.ask("input.performActions", { context: this.context, actions: [keyboard(keys)] });
  }

  async stop(): Promise<void> {
    this.socket.close();
    this.process.kill();
  }

  private ask(method: string, params: object): Promise<unknown> {
    this.next += 1;
    const id = this.next;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${method}: no answer`)), PATIENCE_MS);
      this.waiting.set(id, ({ type, result, message }) => {
        clearTimeout(timer);
        this.waiting.delete(id);
        if (type === "error") reject(new Error(`${method}: ${message}`));
        else resolve(result);
      });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }
}

function addressOf(firefox: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    firefox.stderr?.on("data", (chunk) => {
      said += chunk;
      const found = /WebDriver BiDi listening on (\S+)/.exec(said);
      if (found) resolve(found[1] as string);
    });
    firefox.on("exit", () => reject(new Error(`firefox ended: ${said}`)));
  });
}
