/** What a room's person should hear of: none is lost, and each is read by itself. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { warn } from "../src/client/alarms.ts";
import { Room } from "../src/client/room.ts";
import { told } from "../src/client/told.ts";
import { browser, garden } from "./garden.ts";

async function opened() {
  const { stage, bo } = garden();
  return browser(stage, bo);
}

test("several are there at once, and each is dismissed by itself", async () => {
  const { room, core } = await opened();
  core.alarms.raise(told("unproven"));
  await core.change((draft) => warn(draft, told("eviction_void", "Cy")));
  core.alarms.raise(told("copy_behind"));
  core.alarms.raise(told("unproven"));
  expect(room.alarms).toEqual(["eviction_void Cy", "unproven", "copy_behind"]);
  await room.dismissAlarm("unproven");
  await room.dismissAlarm("eviction_void Cy");
  expect(room.alarms).toEqual(["copy_behind"]);
});

test("what nobody would tell again is there after a reload, until it is read", async () => {
  const { room, core, vault } = await opened();
  await core.change((draft) => warn(draft, told("eviction_void", "Cy")));
  core.alarms.raise(told("unproven"));
  room.close();
  const again = new Room(vault, room.id, () => undefined);
  expect(again.alarms).toEqual(["eviction_void Cy"]);
  await again.dismissAlarm("eviction_void Cy");
  again.close();
  expect(new Room(vault, room.id, () => undefined).alarms).toEqual([]);
});

test("many of one kind do not drive out another", async () => {
  const { room, core } = await opened();
  await core.change((draft) => warn(draft, told("two_moves")));
  for (let seq = 0; seq < 99; seq += 1) {
    await core.change((draft) => warn(draft, told("log.sender_fork", seq)));
  }
  expect(room.alarms).toHaveLength(5);
  expect(room.alarms[0]).toBe("two_moves");
});
