/**
 * This core against the real relay and a Python member: join by a link, talk both ways, rotate.
 *
 * Needs Python with ofcd: `PYTHON`, or the checkout's .venv.
 */

import "fake-indexeddb/auto";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { text } from "../../src/client/contents.ts";
import { type Entry, type FileInfo, refOf } from "../../src/client/entries.ts";
import type { Room } from "../../src/client/room.ts";
import type { RoomMember } from "../../src/client/roomview.ts";
import { hex } from "../../src/protocol/bytes.ts";
import { arrived, openClient, saw, texts, until } from "./clients.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;
const PYTHON = process.env["PYTHON"] ?? join(ROOT, ".venv/bin/python");
const PATIENCE_MS = 30_000;

/** A relay of its own folder, which talks to any other on this machine. */
class Relay {
  private process: ChildProcess | undefined;

  private constructor(
    private readonly place: string,
    public url: string,
  ) {}

  static async start(place: string): Promise<Relay> {
    mkdirSync(place);
    const relay = new Relay(place, "ws://127.0.0.1:0");
    await relay.back();
    return relay;
  }

  /** It begins, at the port that it had if it had one. */
  async back(): Promise<void> {
    const config = join(this.place, "config.toml");
    const { port } = new URL(this.url);
    const lines = [
      `[relay]\nport = ${port}\ndata_dir = "${this.place}/var"`,
      `[federation]\nmode = "open"\nallow_private = ["127.0.0.0/8"]\n`,
    ];
    writeFileSync(config, lines.join("\n"));
    const process_ = spawn(PYTHON, ["-m", "ofcd", "--config", config], { cwd: ROOT });
    this.process = process_;
    this.url = await new Promise<string>((resolve, reject) => {
      let said = "";
      process_.stdout?.on("data", (chunk) => {
        said += chunk;
        const found = /listens on (\S+)/.exec(said);
        if (found) resolve(found[1] as string);
      });
      process_.on("exit", () => reject(new Error(`ofcd ended: ${said}`)));
    });
  }

  async away(): Promise<void> {
    const ended = new Promise((resolve) => this.process?.on("exit", resolve));
    this.process?.kill("SIGKILL");
    await ended;
  }

  stop(): void {
    this.process?.kill();
  }
}

let folder: string;
let relay: Relay;
let url: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ofc-web-"));
  relay = await Relay.start(join(folder, "relay"));
  url = relay.url;
}, PATIENCE_MS * 4);

async function restartRelay(): Promise<void> {
  await relay.away();
  await relay.back();
}

afterAll(() => {
  relay?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const OFC = ["-m", "ofcd.ofc.cli", "--json", "--vault"];
const environment = { ...process.env, OFC_PASSPHRASE: "so geheim" };

const run = promisify(execFile);
type Said = Record<string, string>;

/** Somebody who uses `ofc`; what it prints, a line each. */
async function ofc(who: string, ...words: string[]): Promise<Said[]> {
  const vault = join(folder, `${who}.vault`);
  const { stdout } = await run(PYTHON, [...OFC, vault, ...words], {
    cwd: ROOT,
    env: environment,
    timeout: 4 * PATIENCE_MS,
  });
  return stdout
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

const ana = (...words: string[]) => ofc("ana", ...words);

test.runIf(existsSync(PYTHON))(
  "joins, talks both ways, follows a rotation, and goes on after a reload and a restart",
  async () => {
    await ana("create", "Club", "--relay", url, "--name", "Ana");
    const [invite] = await ana("invite", "Club");
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
      await ana("send", "Club", "hello back");
      await saw(client, room, "hello back");
      await ana("rotate", "Club");
      await until(client, () => room.epoch === 1);

      await client.close();
      await ana("send", "Club", "while the tab was closed");
      client = await openClient(false);
      room = client.room(id) as Room;
      await room.send(text("still here"));
      await saw(client, room, "while the tab was closed");
      await arrived(client, room);

      const said = ["hello from a browser", "hello back", "while the tab was closed", "still here"];
      expect(texts(await room.history())).toEqual(said);
      expect(room.members().map((member) => member.name)).toEqual(["Ana", "Webber"]);
      const read = (await ana("read", "Club")).filter((line) => line["text"]);
      expect(read.map((line) => [line["name"], line["text"]])).toEqual([
        ["Webber", "hello from a browser"],
        ["Ana", "hello back"],
        ["Ana", "while the tab was closed"],
        ["Webber", "still here"],
      ]);

      await restartRelay();
      await room.send(text("after the restart"));
      await arrived(client, room);
      await ana("evict", "Club", "Webber");
      await until(client, () => room.saved.status === "removed");
      expect(room.mayPost).toBe(false);
    } finally {
      await client.close();
      serving.kill();
    }
  },
  PATIENCE_MS * 6,
);

const DAY_MS = 24 * 3_600_000;

test.runIf(existsSync(PYTHON))(
  "founds a room, lets a Python member in, renews its key at 100, sends files, evicts, hands over",
  async () => {
    let client = await openClient(true, "founder");
    const processes: ChildProcess[] = [];
    const serve = (who: string) => {
      const args = [...OFC, join(folder, `${who}.vault`), "serve"];
      processes.push(spawn(PYTHON, args, { cwd: ROOT, env: environment }));
    };
    try {
      const id = await client.create({ url, name: "Garden", myName: "Webber" });
      let room = client.room(id) as Room;
      await until(client, () => room.isLive);
      const expires = Date.now() + DAY_MS;
      const link = await room.invite({ expires });
      expect(room.invites().map((one) => one.link)).toEqual([link]);
      await ofc("bo", "join", link, "--name", "Bo", "--timeout", "60");
      expect(room.invites()).toEqual([]);
      await until(client, () => room.members().some(({ name }) => name === "Bo"));

      await room.send(text("welcome"));
      await ofc("bo", "send", "Garden", "thank you");
      await saw(client, room, "thank you");
      await arrived(client, room);
      const heard = (await room.history()).find((entry) => entry.text === "welcome");
      await until(client, () => room.delivery(heard as Entry).reached.length === 1);

      serve("bo");
      for (let number = 1; number <= 100; number += 1) await room.send(text(`number ${number}`));
      await until(client, () => room.epoch >= 1);
      await arrived(client, room);
      const { epoch } = room;
      await room.rotate();
      expect(room.epoch).toBe(epoch + 1);

      const bytes = new Uint8Array(600_000).map((_, at) => at % 251);
      await room.sendFile(new File([bytes], "../plan.bin"), { caption: "the plan" });
      await until(client, async () => (await room.history()).some(({ kind }) => kind === "file"));
      await ofc("bo", "read", "Garden", "--save", folder);
      expect(Buffer.compare(readFileSync(join(folder, "plan.bin")), Buffer.from(bytes))).toBe(0);
      // Bo has said nothing since: his client's receipt alone proves that the file has come.
      const sent = (await room.history()).find(({ kind }) => kind === "file") as Entry;
      await until(client, () => room.delivery(sent).reached.length === 1);
      writeFileSync(join(folder, "note.txt"), "sealed for you");
      await ofc("bo", "send", "Garden", "--file", join(folder, "note.txt"));
      const of = async () => (await room.history()).find((one) => one.file?.name === "note.txt");
      await until(client, async () => (await of()) !== undefined);
      const pieces = await room.fetchFile(refOf((await of())?.file as FileInfo));
      expect(await new Blob(pieces).text()).toBe("sealed for you");
      // Nor has this browser: the same the other way round.
      await vi.waitFor(async () => {
        const shown = (await ofc("bo", "read", "Garden", "--limit", "1")) as object[];
        expect(shown[0]).toMatchObject({ kind: "file", delivery: { state: "delivered_to_all" } });
      }, PATIENCE_MS);

      await client.close();
      client = await openClient(false, "founder");
      room = client.room(id) as Room;
      await until(client, () => room.isLive);
      const second = await room.invite({ expires });
      await ofc("cy", "join", second, "--name", "Cy", "--timeout", "60");
      const midOf = (name: string) =>
        hex((room.members().find((one) => one.name === name) as RoomMember).mid);
      await until(client, () => room.members().some(({ name }) => name === "Cy"));
      await room.evict(midOf("Cy"));
      await room.send(text("without Cy"));
      await arrived(client, room);
      await expect(ofc("cy", "read", "Garden")).rejects.toThrow("not in it");
      const kept = JSON.stringify(await ofc("cy", "read", "Garden", "--local"));
      expect(kept).toContain("the plan");
      expect(kept).not.toContain("without Cy");
      expect(JSON.stringify(await ofc("bo", "read", "Garden"))).toContain("without Cy");

      await room.grant(midOf("Bo"), "co-owner");
      expect(room.state.members.get(midOf("Bo"))?.role).toBe("co-owner");
      await room.offerHandover(midOf("Bo"));
      await ofc("bo", "hand-over", "Garden", "--accept");
      await until(client, () => hex(room.state.root) === midOf("Bo"));
      await until(client, () => !room.state.boxedDue);
      await room.leave();
      expect(room.saved.status).toBe("removed");
    } finally {
      await client.close();
      for (const one of processes) one.kill();
    }
  },
  PATIENCE_MS * 10,
);

test.runIf(existsSync(PYTHON))(
  "joins through a relay of its own; what is said while the room's is away comes later; moves on, and home",
  async () => {
    const home = await Relay.start(join(folder, "home"));
    const third = await Relay.start(join(folder, "third"));
    await ana("create", "Far", "--relay", url, "--name", "Ana");
    const [invite] = await ana("invite", "Far");
    const link = invite?.["link"] as string;
    const serving = spawn(PYTHON, [...OFC, join(folder, "ana.vault"), "serve"], {
      cwd: ROOT,
      env: environment,
    });
    let client = await openClient(true, "far");
    try {
      const id = await client.join(link, "Webber", home.url);
      await until(client, () => client.room(id)?.isLive ?? false);
      let room = client.room(id) as Room;
      expect([room.url, room.hubUrl]).toEqual([home.url, url]);
      expect(hex(room.relayId)).not.toBe(hex(room.state.relayId));
      await room.send(text("hello from afar"));
      await arrived(client, room);
      await ana("send", "Far", "hello back");
      await saw(client, room, "hello back");

      await relay.away();
      await room.send(text("one while it is away"));
      await room.send(text("two while it is away"));
      await client.close();
      client = await openClient(false, "far");
      room = client.room(id) as Room;
      await until(client, () => room.isLive);
      await relay.back();
      await arrived(client, room);
      await saw(client, room, "two while it is away");
      const said = texts(await room.history()).slice(-2);
      expect(said).toEqual(["one while it is away", "two while it is away"]);
      expect(JSON.stringify(await ana("read", "Far"))).toContain("two while it is away");

      // To a third relay, as the same member; from there, that being gone, to the room's own.
      const { me } = room;
      const homeOf = () => hex(room.state.members.get(me)?.home as Uint8Array);
      expect(await client.moveHome(id, third.url)).toBe(true);
      expect([room.url, room.hubUrl, room.me, homeOf()]).toEqual([
        third.url,
        url,
        me,
        hex(room.relayId),
      ]);
      await room.send(text("from the third"));
      await arrived(client, room);
      await ana("send", "Far", "heard at the third");
      await saw(client, room, "heard at the third");
      await third.away();
      await until(client, () => !room.isLive);
      await room.send(text("while the third is gone"));
      expect(await client.moveHome(id, url)).toBe(true);
      await arrived(client, room);
      expect([room.url, homeOf()]).toEqual([url, hex(room.state.relayId)]);
      await client.close();
      client = await openClient(false, "far");
      room = client.room(id) as Room;
      await room.send(text("after all of it"));
      await arrived(client, room);
      const heard = JSON.stringify(await ana("read", "Far"));
      for (const words of ["from the third", "while the third is gone", "after all of it"])
        expect(heard.split(words)).toHaveLength(2);

      // Root moves the room to where the browser began: its relay follows, and it stays there.
      await ana("move", "Far", home.url);
      await until(client, () => room.state.moved.length === 1);
      expect([room.url, room.hubUrl, room.isAway]).toEqual([url, home.url, true]);
      await room.send(text("to the new hub"));
      await arrived(client, room);
      await ana("send", "Far", "heard at the new hub");
      await saw(client, room, "heard at the new hub");
      await client.close();
      client = await openClient(false, "far");
      room = client.room(id) as Room;
      await until(client, () => room.isLive);
      expect(await client.moveHome(id, home.url)).toBe(true);
      expect([room.url, room.isAway]).toEqual([home.url, false]);
      await room.send(text("at the new hub"));
      await arrived(client, room);
      expect(JSON.stringify(await ana("read", "Far"))).toContain("at the new hub");
    } finally {
      await client.close();
      serving.kill();
      home.stop();
      third.stop();
    }
  },
  PATIENCE_MS * 8,
);
