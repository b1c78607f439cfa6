/** A room whose relay is gone for good: its root has it go on at another one, between real relays. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test } from "vitest";

import type { Client } from "../../src/client/client.ts";
import { text } from "../../src/client/contents.ts";
import type { Room } from "../../src/client/room.ts";
import { hubOf } from "../../src/protocol/room.ts";
import { missing, PATIENCE_MS, Relay } from "../browser/world.ts";
import { arrived, openClient, saw, texts, until } from "./clients.ts";

test.skipIf(missing() !== "")(
  "a room goes on from a copy when its relay is gone for good; what that alone had is said again, once",
  async () => {
    const [old, home] = await Promise.all([Relay.start(), Relay.start()]);
    const people = ["ana", "bo", "cy"].map((name) => openClient(true, `gone-${name}`));
    const [ana, bo, cy] = (await Promise.all(people)) as [Client, Client, Client];
    onTestFinished(async () => {
      await Promise.all([ana.close(), bo.close(), cy.close()]);
      await Promise.all([old.stop(), home.stop()]);
    });
    const id = await ana.create({ url: old.url, name: "Garden", myName: "Ana" });
    const mine = ana.room(id) as Room;
    await until(ana, () => mine.isLive);
    const inviteTo = () => mine.invite({ expires: Date.now() + 9e6 });
    await bo.join(await inviteTo(), "Bo", home.url);
    await until(bo, () => bo.room(id)?.isLive ?? false);
    await cy.join(await inviteTo(), "Cy");
    await until(cy, () => cy.room(id)?.isLive ?? false);
    const [theirs, cys] = [bo.room(id) as Room, cy.room(id) as Room];
    await mine.send(text("all have this"));
    await saw(bo, theirs, "all have this");
    await Promise.all([arrived(ana, mine), arrived(cy, cys)]);

    await home.away();
    await cys.send(text("only at the old relay"));
    await saw(ana, mine, "only at the old relay");
    await arrived(cy, cys);
    await old.away();
    await home.back();
    await until(bo, () => theirs.isLive);

    await expect(bo.surveyHub(id, home.url)).rejects.toThrow("forbidden");
    const found = await ana.surveyHub(id, home.url);
    expect(found).toMatchObject({ messages: 1, own: 0 });
    expect(mine.url).toBe(old.url);
    await ana.forceHub(id, found);
    expect(hubOf(mine.state)).toEqual(theirs.relayId);
    expect(mine.cut).toMatchObject({ messages: 1, own: 0 });
    expect(texts(await mine.voided())).toEqual(["only at the old relay"]);
    await until(bo, () => theirs.state.moved.length === 1);
    expect(theirs.cut).toBeUndefined();

    // Cy hears nothing from the old relay: Ana tells it where the room is.
    expect(await cy.moveHome(id, home.url)).toBe(true);
    expect(hubOf(cys.state)).toEqual(theirs.relayId);
    await saw(bo, theirs, "only at the old relay");
    await saw(ana, mine, "only at the old relay");
    await arrived(cy, cys);
    await theirs.send(text("on we go"));
    await saw(cy, cys, "on we go");
    for (const room of [mine, theirs, cys]) {
      expect(texts(await room.history()).slice(-3)).toEqual([
        "all have this",
        "only at the old relay",
        "on we go",
      ]);
      expect(texts(await room.voided())).toEqual([]);
    }
  },
  PATIENCE_MS * 4,
);
