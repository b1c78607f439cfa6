/** A real relay that serves the page, Ana at her terminal, and a real Chromium. */

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll } from "vitest";

import { PYTHON, ROOT } from "../forker.ts";
import { Program } from "../programs.ts";

const CHROMIUM = "/usr/bin/chromium";
/** For whatever waits for another process: the machine may be slow, and busy. */
export const PATIENCE_MS = 60_000;
/** How many times slower than it is the browser shall be: `SLOWER=4 npm test`. */
const SLOWER = Number(process.env["SLOWER"] ?? 1);
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Only the last of these switches counts: what Playwright disables, and the pages that Chromium
  // loads for its address bar, two for each window.
  `--disable-features=${[
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxPopup",
  ].join()}`,
];

/** Why the programs of this repository can not be started; "" if they can. */
export const missingPrograms = (): string =>
  existsSync(PYTHON) ? "" : "there is no .venv: run `make setup`";

/** What is missing for a test in a browser; "" if nothing is. */
export function missing(): string {
  if (missingPrograms() !== "") return missingPrograms();
  if (!existsSync(CHROMIUM)) return "there is no chromium: apt-get install chromium";
  return existsSync(join(ROOT, "web/dist/index.html"))
    ? ""
    : "the page is not built: run `make web-build`";
}

/** A line that `ofc --json` printed. */
export type Said = Readonly<Record<string, string>>;

/** A relay of its own folder and port. */
export class Relay {
  private process: Program | undefined;
  private readonly serving = new Map<string, Program>();
  private bot: Program | undefined;

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
    this.process = new Program("ofcd", ["--config", config]);
    [, this.url = ""] = await this.process.says(/listens on (\S+)/);
  }

  /** It is gone from one moment to the next. */
  async away(): Promise<void> {
    await this.process?.kill("SIGKILL");
    await this.process?.ended;
  }

  /** It stands still: what is sent to it is taken, and nobody answers. */
  async freeze(): Promise<void> {
    await this.process?.kill("SIGSTOP");
  }

  async thaw(): Promise<void> {
    await this.process?.kill("SIGCONT");
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
    const going = this.program(OFC, ...this.vaultOf(who), ...words);
    going.end(typed);
    const lines = (await going.all(PATIENCE_MS)).trim().split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  /** Somebody who fetches the file of message `seq`, now and whenever asked again. */
  fetches(who: string, seq: number): { again(): Promise<string>; stop(): Promise<void> } {
    const vault = join(this.folder, `${who}.vault`);
    const going = this.program("tests/live/scripts/fetching.py", vault, String(seq));
    return {
      again: async () => {
        going.write("\n");
        return (await going.says(/(.*)\n/))[1] as string;
      },
      stop: () => going.kill(),
    };
  }

  /** A bridge, whose vault `who` is, says what somebody on another network is said to say. */
  async bridged(who: string, ...said: readonly (readonly string[])[]): Promise<void> {
    await this.script("bridging", who, said);
  }

  /** What a script of a member with this vault answers to these lines, a line each. */
  async script(name: string, who: string, asked: readonly (readonly unknown[])[]) {
    const vault = join(this.folder, `${who}.vault`);
    const going = this.program(`tests/live/scripts/${name}.py`, vault);
    going.end(asked.map((line) => `${JSON.stringify(line)}\n`).join(""));
    return (await going.all(PATIENCE_MS)).split("\n").slice(0, -1);
  }

  /** Somebody who is in one room says all these there, one after the other. */
  async says(who: string, words: readonly string[]): Promise<void> {
    const said = words.map((text) => ["text", { text, format: "plain" }]);
    await this.script("saying", who, said);
  }

  /** A new link to one of Ana's rooms. */
  async invite(room: string, ...options: string[]): Promise<string> {
    const [invite] = await this.ana("invite", room, ...options);
    return invite?.["link"] as string;
  }

  /** Ana stays online, so that she lets in whom she invited. */
  anaServes(): void {
    this.serves("ana");
  }

  /** Whoever uses `ofc` stays online. */
  serves(who: string): void {
    if (this.serving.has(who)) return;
    const going = this.program(OFC, ...this.vaultOf(who), "serve");
    this.serving.set(who, going);
    void going.ended.then(() => this.serving.delete(who));
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
    const words = ["run", "--config", config];
    this.bot = new Program("bots.cli", words, environment, this.folder);
  }

  /** It and all who use it are gone, with all that they have. */
  async stop(): Promise<void> {
    const all = [...this.serving.values(), this.bot, this.process];
    await Promise.all(
      all.map(async (one) => {
        await one?.kill("SIGKILL");
        await one?.ended;
      }),
    );
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  private program(run: string, ...words: string[]): Program {
    return new Program(run, words, environment);
  }

  private vaultOf(who: string): string[] {
    return ["--json", "--vault", join(this.folder, `${who}.vault`)];
  }
}

const OFC = "ofcd.ofc.cli";
const environment = { ...process.env, OFC_PASSPHRASE: "so geheim" };

export interface Look {
  readonly viewport: { readonly width: number; readonly height: number };
  readonly colorScheme: "light" | "dark";
  readonly locale?: string;
}

export const DESKTOP: Look = { viewport: { width: 1280, height: 800 }, colorScheme: "light" };
export const PHONE: Look = { viewport: { width: 390, height: 844 }, colorScheme: "dark" };

/** A browser with a profile of its own on disk; close the context to end it. */
export async function openBrowser(
  folder: string,
  look: Look,
  flags: readonly string[] = [],
): Promise<BrowserContext> {
  const profile = mkdtempSync(join(folder, "profile-"));
  const settings = { ...LAUNCH, args: [...FLAGS, ...flags], locale: "en-GB", ...look };
  return prepared(await chromium.launchPersistentContext(profile, settings));
}

const LAUNCH = { executablePath: CHROMIUM, headless: true, args: FLAGS };
let shared: Promise<Browser> | undefined;

afterAll(async () => (await shared)?.close());

/** The same with a profile in memory, in the one process that all these of a file share. */
export async function openProfile(look: Look): Promise<BrowserContext> {
  shared ??= chromium.launch(LAUNCH);
  return prepared(await (await shared).newContext({ locale: "en-GB", ...look }));
}

async function prepared(browser: BrowserContext): Promise<BrowserContext> {
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
