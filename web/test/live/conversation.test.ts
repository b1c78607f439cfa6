/**
 * This core against the real relay and a Python member: join by a link, talk both ways, rotate.
 */

import "fake-indexeddb/auto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, vi, test as vitest } from "vitest";

import { text } from "../../src/client/contents.ts";
import { type Entry, type FileInfo, refOf } from "../../src/client/entries.ts";
import type { Room } from "../../src/client/room.ts";
import type { RoomMember } from "../../src/client/roomview.ts";
import { hex } from "../../src/protocol/bytes.ts";
import { missingPrograms, PATIENCE_MS, Relay } from "../browser/world.ts";
import { arrived, openClient, saw, texts, until } from "./clients.ts";

const TEST_MS = 5 * PATIENCE_MS;
const test = vitest.skipIf(missingPrograms() !== "");

let folder: string;
let relay: Relay;
let url: string;

beforeAll(async () => {
  if (missingPrograms() !== "") return;
  relay = await Relay.start();
  ({ folder, url } = relay);
}, TEST_MS);

afterAll(() => relay?.stop());

const ofc = (who: string, ...words: string[]) => relay.ofc(who, ...words);
const ana = (...words: string[]) => ofc("ana", ...words);

test(
  "joins, talks both ways, follows a rotation, and goes on after a reload and a restart",
  async () => {
    await ana("create", "Club", "--relay", url, "--name", "Ana");
    const [invite] = await ana("invite", "Club");
    relay.anaServes();
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

      await relay.away();
      await relay.back();
      await room.send(text("after the restart"));
      await arrived(client, room);
      await ana("evict", "Club", "Webber");
      await until(client, () => room.saved.status === "removed");
      expect(room.mayPost).toBe(false);
    } finally {
      await client.close();
    }
  },
  TEST_MS,
);

const DAY_MS = 24 * 3_600_000;

test(
  "founds a room, lets a Python member in, renews its key at 100, sends files, evicts, hands over",
  async () => {
    let client = await openClient(true, "founder");
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

      relay.serves("bo");
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
    }
  },
  TEST_MS,
);

test(
  "joins through a relay of its own; what is said while the room's is away comes later; moves on, and home",
  async () => {
    const [home, third] = await Promise.all([Relay.start(), Relay.start()]);
    await ana("create", "Far", "--relay", url, "--name", "Ana");
    const [invite] = await ana("invite", "Far");
    const link = invite?.["link"] as string;
    relay.anaServes();
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
      await Promise.all([home.stop(), third.stop()]);
    }
  },
  TEST_MS,
);
