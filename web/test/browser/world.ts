/** A real relay that serves the page, Ana at her terminal, and a real Chromium. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { type BrowserContext, chromium, type Page } from "playwright-core";

const ROOT = new URL("../../../", import.meta.url).pathname;
const PYTHON = process.env["PYTHON"] ?? join(ROOT, ".venv/bin/python");
const CHROMIUM = "/usr/bin/chromium";
/** For whatever waits for another process: the machine may be slow, and busy. */
export const PATIENCE_MS = 60_000;
/** How many times slower than it is the browser shall be: `SLOWER=4 npm test`. */
const SLOWER = Number(process.env["SLOWER"] ?? 1);
const run = promisify(execFile);
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** What is missing for a test in a browser; "" if nothing is. */
export function missing(): string {
  if (!existsSync(PYTHON)) return "there is no .venv: run `make setup`";
  if (!existsSync(CHROMIUM)) return "there is no chromium: apt-get install chromium";
  return existsSync(join(ROOT, "web/dist/index.html"))
    ? ""
    : "the page is not built: run `make web-build`";
}

/** A line that `ofc --json` printed. */
export type Said = Readonly<Record<string, string>>;

/** A relay of its own folder and port. */
export class Relay {
  private process: ChildProcess | undefined;
  private serving: ChildProcess | undefined;
  private bot: ChildProcess | undefined;

  private constructor(
    readonly folder: string,
    public url: string,
  ) {}

  static async start(): Promise<Relay> {
    const relay = new Relay(mkdtempSync(join(tmpdir(), "ofc-page-")), "ws://127.0.0.1:0");
    await relay.back();
    return relay;
  }

  /** It begins, at the port that it had if it had one; with another `data`, another relay does. */
  async back(data = "var"): Promise<void> {
    const config = join(this.folder, "config.toml");
    const { port } = new URL(this.url);
    const lines = [
      `[relay]\nport = ${port}\ndata_dir = "${this.folder}/${data}"`,
      `[federation]\nmode = "open"\nallow_private = ["127.0.0.0/8"]\n`,
    ];
    writeFileSync(config, lines.join("\n"));
    this.process = spawn(PYTHON, ["-m", "ofcd", "--config", config], { cwd: ROOT });
    this.url = await addressOf(this.process);
  }

  /** It is gone from one moment to the next. */
  async away(): Promise<void> {
    const ended = new Promise((resolve) => this.process?.on("exit", resolve));
    this.process?.kill("SIGKILL");
    await ended;
  }

  /** It stands still: what is sent to it is taken, and nobody answers. */
  freeze(): void {
    this.process?.kill("SIGSTOP");
  }

  thaw(): void {
    this.process?.kill("SIGCONT");
  }

  /** The address of the page. */
  get page(): string {
    return `${this.url.replace(/^ws/, "http")}/`;
  }

  /** Ana, who uses `ofc`; what she prints, a line each. */
  ana(...words: string[]): Promise<Said[]> {
    return this.ofc("ana", ...words);
  }

  /** Anybody who uses `ofc`. */
  ofc(who: string, ...words: string[]): Promise<Said[]> {
    return this.typing("", who, ...words);
  }

  /** The same, with what they type when they are asked. */
  async typing(typed: string, who: string, ...words: string[]): Promise<Said[]> {
    const going = run(PYTHON, [...this.vaultOf(who), ...words], {
      cwd: ROOT,
      env: environment,
      timeout: PATIENCE_MS,
    });
    going.child.stdin?.end(typed);
    const { stdout } = await going;
    return stdout
      .trim()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  }

  /** Somebody who fetches the file of message `seq`, now and whenever asked again. */
  fetches(who: string, seq: number): { again(): Promise<string>; stop(): void } {
    const vault = join(this.folder, `${who}.vault`);
    const args = ["tests/live/scripts/fetching.py", vault, String(seq)];
    const going = spawn(PYTHON, args, { cwd: ROOT, env: environment });
    const lines = createInterface({ input: going.stdout })[Symbol.asyncIterator]();
    return {
      again: async () => {
        going.stdin.write("\n");
        return (await lines.next()).value ?? "it ended";
      },
      stop: () => void going.kill(),
    };
  }

  /** A bridge, whose vault `who` is, says what somebody on another network is said to say. */
  async bridged(who: string, ...said: readonly (readonly string[])[]): Promise<void> {
    await this.script("bridging", who, said);
  }

  /** What a script of a member with this vault answers to these lines, a line each. */
  async script(name: string, who: string, asked: readonly (readonly unknown[])[]) {
    const args = [`tests/live/scripts/${name}.py`, join(this.folder, `${who}.vault`)];
    const going = run(PYTHON, args, { cwd: ROOT, env: environment, timeout: PATIENCE_MS });
    going.child.stdin?.end(asked.map((line) => `${JSON.stringify(line)}\n`).join(""));
    return (await going).stdout.split("\n").slice(0, -1);
  }

  /** A new link to one of Ana's rooms. */
  async invite(room: string, ...options: string[]): Promise<string> {
    const [invite] = await this.ana("invite", room, ...options);
    return invite?.["link"] as string;
  }

  /** Ana stays online, so that she lets in whom she invited. */
  anaServes(): void {
    if (this.serving?.exitCode === null) return;
    const args = [...this.vaultOf("ana"), "serve"];
    this.serving = spawn(PYTHON, args, { cwd: ROOT, env: environment });
  }

  /** A bot that says again what it is told, let in by this link. */
  echoes(link: string): void {
    const config = join(this.folder, "bot.toml");
    const bot = [
      "[[bot]]",
      'code = "plugin:echo"',
      'vault = "echo.vault"',
      'key_file = "echo.key"',
      `join = [${JSON.stringify(link)}]`,
    ].join("\n");
    writeFileSync(config, bot);
    const args = ["-m", "bots.cli", "run", "--config", config];
    this.bot = spawn(PYTHON, args, { cwd: this.folder, env: { ...environment, PYTHONPATH: ROOT } });
  }

  stop(): void {
    this.serving?.kill();
    this.bot?.kill();
    this.process?.kill();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  private vaultOf(who: string): string[] {
    return ["-m", "ofcd.ofc.cli", "--json", "--vault", join(this.folder, `${who}.vault`)];
  }
}

const environment = { ...process.env, OFC_PASSPHRASE: "so geheim" };

function addressOf(relay: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    relay.stdout?.on("data", (chunk) => {
      said += chunk;
      const found = /listens on (\S+)/.exec(said);
      if (found) resolve(found[1] as string);
    });
    relay.on("exit", () => reject(new Error(`ofcd ended: ${said}`)));
  });
}

export interface Look {
  readonly viewport: { readonly width: number; readonly height: number };
  readonly colorScheme: "light" | "dark";
  readonly locale?: string;
}

export const DESKTOP: Look = { viewport: { width: 1280, height: 800 }, colorScheme: "light" };
export const PHONE: Look = { viewport: { width: 390, height: 844 }, colorScheme: "dark" };

/** A browser with a profile of its own; close the context to end it. */
export async function openBrowser(
  folder: string,
  look: Look,
  flags: readonly string[] = [],
): Promise<BrowserContext> {
  const browser = await chromium.launchPersistentContext(mkdtempSync(join(folder, "profile-")), {
    executablePath: CHROMIUM,
    headless: true,
    args: [...FLAGS, ...flags],
    locale: "en-GB",
    ...look,
  });
  browser.setDefaultTimeout(PATIENCE_MS);
  if (SLOWER > 1) {
    const slow = async (page: Page) => {
      const session = await browser.newCDPSession(page);
      await session.send("Emulation.setCPUThrottlingRate", { rate: SLOWER });
    };
    browser.on("page", (page) => void slow(page).catch(() => undefined));
    await Promise.all(browser.pages().map(slow));
  }
  return browser;
}

/** Everything the page complains about from now on: console errors, refused code, lost promises. */
export function complaintsOf(page: Page): string[] {
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      complaints.push(message.text());
    }
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return complaints;
}

/** Every address that the page asks for from now on. */
export function requestsOf(page: Page): string[] {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  return asked;
}
