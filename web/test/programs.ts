/** Programs of ours, each in a process of its own, forked from one that has them imported already. */

import { connect, type Socket } from "node:net";
import { inject } from "vitest";

import { ROOT } from "./forker.ts";

export interface Ended {
  /** Below zero for a signal. */
  readonly code: number;
  /** All of its standard error. */
  readonly errors: string;
  /** All of its standard output. */
  readonly output: string;
}

export class Program {
  /** Its process id, once it runs; 0 if it never does. */
  readonly started: Promise<number>;
  /** Once it is gone, however it went. */
  readonly ended: Promise<Ended>;
  private readonly socket: Socket;
  private output = "";
  private read = 0;
  private isOver = false;
  private wake: () => void = () => undefined;

  /** `run` is a module, as of `python -m`, or a script's path in the checkout. */
  constructor(
    private readonly run: string,
    private readonly words: readonly string[],
    environment: NodeJS.ProcessEnv = process.env,
    folder = ROOT,
  ) {
    this.socket = connect({ path: inject("forker"), allowHalfOpen: true }).setEncoding("utf-8");
    this.socket.write(`${JSON.stringify({ run, words, folder, environment })}\n`);
    let running: (pid: number) => void = () => undefined;
    this.started = new Promise((resolve) => {
      running = resolve;
    });
    this.ended = new Promise((resolve, reject) => {
      let all = "";
      this.socket.on("data", (chunk) => {
        all += chunk;
        const [, pid, output = ""] = /^(\d+)\n([^\0]*)/.exec(all) ?? [];
        if (pid === undefined) return;
        running(Number(pid));
        this.output = output;
        this.wake();
      });
      this.socket.once("error", reject);
      this.socket.once("end", () => {
        this.socket.end();
        this.isOver = true;
        running(0);
        this.wake();
        const [, told] = all.split("\0");
        if (told === undefined) reject(new Error(`the forker is gone, and with it ${run}`));
        else resolve({ ...JSON.parse(told), output: this.output });
      });
    });
    this.ended.catch(() => undefined); // whoever waits hears of it
  }

  /** What it reads next on its standard input. */
  write(words: string): void {
    this.socket.write(words);
  }

  /** It reads no more than this. */
  end(words = ""): void {
    this.socket.end(words);
  }

  /** What it says next that matches; throws if it ends without. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.output.slice(this.read));
      if (found) {
        this.read += found.index + found[0].length;
        return found;
      }
      if (this.isOver) throw await this.failure();
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** All that it says, once it has ended well. */
  async all(patienceMs: number): Promise<string> {
    const timer = setTimeout(() => void this.kill(), patienceMs);
    const { code, output } = await this.ended.finally(() => clearTimeout(timer));
    if (code !== 0) throw await this.failure();
    return output;
  }

  async kill(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const pid = await this.started;
    if (!this.isOver) process.kill(pid, signal);
  }

  private async failure(): Promise<Error> {
    const { code, errors } = await this.ended;
    return new Error(`${this.run} ${this.words.join(" ")} ended with ${code}: ${errors}`);
  }
}
