/** A room that its root moves from this core, between real relays. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test } from "vitest";

import { text } from "../../src/client/contents.ts";
import type { Room } from "../../src/client/room.ts";
import { hubOf } from "../../src/protocol/room.ts";
import { missing, PATIENCE_MS, Relay } from "../browser/world.ts";
import { arrived, openClient, saw, until } from "./clients.ts";

test.skipIf(missing() !== "")(
  "a room goes where a member is at home already, its root stays where it was, and nobody else moves it",
  async () => {
    const [old, home] = await Promise.all([Relay.start(), Relay.start()]);
    const [ana, bo] = [await openClient(true, "ana"), await openClient(true, "bo")];
    onTestFinished(async () => {
      await Promise.all([ana.close(), bo.close()]);
      await Promise.all([old.stop(), home.stop()]);
    });
    const id = await ana.create({ url: old.url, name: "Garden", myName: "Ana" });
    const mine = ana.room(id) as Room;
    await until(ana, () => mine.isLive);
    await bo.join(await mine.invite({ expires: Date.now() + 9e6 }), "Bo", home.url);
    await until(bo, () => bo.room(id)?.isLive ?? false);
    const theirs = bo.room(id) as Room;

    await expect(bo.moveHub(id, old.url)).rejects.toThrow("forbidden");
    expect(await ana.moveHub(id, home.url)).toBe(true);
    await until(bo, () => theirs.state.moved.length === 1);
    expect([mine.url, mine.hubUrl, mine.isAway]).toEqual([old.url, home.url, true]);
    expect([theirs.url, theirs.hubUrl, theirs.isAway]).toEqual([home.url, home.url, false]);
    expect(hubOf(mine.state)).toEqual(theirs.relayId);

    await mine.send(text("to the new hub"));
    await saw(bo, theirs, "to the new hub");
    await theirs.send(text("from there"));
    await saw(ana, mine, "from there");
    await arrived(ana, mine);
    expect(await ana.moveHub(id, home.url)).toBe(true); // it is there
    expect(mine.state.moved).toHaveLength(1);
  },
  PATIENCE_MS * 4,
);
