/**
 * This core against the real relay and a Python member: join by a link, talk both ways, rotate.
 *
 * Needs Python with ofcd: `PYTHON`, or the checkout's .venv.
 */

import "fake-indexeddb/auto";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";

import { Client } from "../../src/client/client.ts";
import { text } from "../../src/client/contents.ts";
import type { Entry } from "../../src/client/entries.ts";
import type { Room } from "../../src/client/room.ts";
import { Vault } from "../../src/client/vault.ts";
import { type SocketLike, SUBPROTOCOL } from "../../src/wire/link.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;
const PYTHON = process.env["PYTHON"] ?? join(ROOT, ".venv/bin/python");
const PATIENCE_MS = 30_000;

let folder: string;
let relay: ChildProcess;
let url: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ofc-web-"));
  await startRelay(0);
}, PATIENCE_MS);

async function startRelay(port: number): Promise<void> {
  const config = join(folder, "config.toml");
  writeFileSync(config, `[relay]\nport = ${port}\ndata_dir = "${folder}/var"\n`);
  relay = spawn(PYTHON, ["-m", "ofcd", "--config", config], { cwd: ROOT });
  url = await new Promise<string>((resolve, reject) => {
    let said = "";
    relay.stdout?.on("data", (chunk) => {
      said += chunk;
      const found = /listens on (\S+)/.exec(said);
      if (found) resolve(found[1] as string);
    });
    relay.on("exit", () => reject(new Error(`ofcd ended: ${said}`)));
  });
}

async function restartRelay(): Promise<void> {
  const ended = new Promise((resolve) => relay.on("exit", resolve));
  relay.kill("SIGKILL");
  await ended;
  await startRelay(Number(new URL(url).port));
}

afterAll(() => {
  relay?.kill();
  rmSync(folder, { recursive: true, force: true });
});

const OFC = ["-m", "ofcd.ofc.cli", "--json", "--vault"];
const environment = { ...process.env, OFC_PASSPHRASE: "so geheim" };

/** Ana, who uses `ofc`; what she prints, a line each. */
function ana(...words: string[]): Record<string, string>[] {
  const vault = join(folder, "ana.vault");
  const printed = execFileSync(PYTHON, [...OFC, vault, ...words], {
    cwd: ROOT,
    env: environment,
    encoding: "utf-8",
    timeout: PATIENCE_MS,
  });
  return printed
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const makeSocket = (to: string) => new WebSocket(to, SUBPROTOCOL) as unknown as SocketLike;

/** Waits until a change of the client makes it true. */
function until(client: Client, holds: () => boolean | Promise<boolean>): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = async () => {
      if (await holds()) {
        stop();
        resolve();
      }
    };
    const stop = client.subscribe(() => look().catch(reject));
    look().catch(reject);
  });
}

async function openClient(create: boolean): Promise<Client> {
  const vault = await (create ? Vault.create : Vault.open)("webber", "passphrase");
  const client = new Client(vault, { makeSocket });
  client.start();
  return client;
}

const texts = (entries: readonly Entry[]) =>
  entries.filter((entry) => entry.kind === "text").map((entry) => entry.text);

const saw = (client: Client, room: Room, words: string) =>
  until(client, async () => texts(await room.history()).includes(words));

const arrived = (client: Client, room: Room) => until(client, () => room.waiting().length === 0);

test.runIf(existsSync(PYTHON))(
  "joins, talks both ways, follows a rotation, and goes on after a reload and a restart",
  async () => {
    ana("create", "Club", "--relay", url, "--name", "Ana");
    const [invite] = ana("invite", "Club");
    const serving = spawn(PYTHON, [...OFC, join(folder, "ana.vault"), "serve"], {
      cwd: ROOT,
      env: environment,
    });
    let client = await openClient(true);
    try {
      const id = await client.join(invite?.["link"] as string, "Webber");
      await until(client, () => client.room(id)?.isLive ?? false);
      let room = client.room(id) as Room;
      expect(room.name).toBe("Club");
      await room.send(text("hello from a browser"));
      await arrived(client, room);
      ana("send", "Club", "hello back");
      await saw(client, room, "hello back");
      ana("rotate", "Club");
      await until(client, () => room.epoch === 1);

      client.close();
      ana("send", "Club", "while the tab was closed");
      client = await openClient(false);
      room = client.room(id) as Room;
      await room.send(text("still here"));
      await saw(client, room, "while the tab was closed");
      await arrived(client, room);

      const said = ["hello from a browser", "hello back", "while the tab was closed", "still here"];
      expect(texts(await room.history())).toEqual(said);
      expect(room.members().map((member) => member.name)).toEqual(["Ana", "Webber"]);
      const read = ana("read", "Club").filter((line) => line["text"]);
      expect(read.map((line) => [line["name"], line["text"]])).toEqual([
        ["Webber", "hello from a browser"],
        ["Ana", "hello back"],
        ["Ana", "while the tab was closed"],
        ["Webber", "still here"],
      ]);

      await restartRelay();
      await room.send(text("after the restart"));
      await arrived(client, room);
      ana("evict", "Club", "Webber");
      await until(client, () => room.saved.status === "removed");
      expect(room.mayPost).toBe(false);
    } finally {
      client.close();
      serving.kill();
    }
  },
  PATIENCE_MS * 2,
);
