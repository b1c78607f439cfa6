/** A vault of an earlier version, which kept the moves of its room without their ids. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { Room } from "../src/client/room.ts";
import { headerFields, signControl } from "../src/e2e/controls.ts";
import { isControl } from "../src/protocol/records.ts";
import { peek } from "../src/themis/index.ts";
import { browser, deliver, follow, forced, garden, NEW, NEW_URL, shownIn } from "./garden.ts";
import { RELAY_ID, URL_ } from "./rooms.ts";
import type { Stage } from "./stage.ts";

function move(stage: Stage, hub: Uint8Array, term: number): Uint8Array {
  const making = stage.making();
  const fields = headerFields(making);
  const after = making.state.moved.at(-1)?.eventId;
  const urls = [hub === NEW ? NEW_URL : URL_];
  const record = { type: "hub_move", ...fields, hub, urls, term, force: false, after } as const;
  const signed = signControl(making, record);
  stage.postAlone(signed);
  return signed.envelope;
}

/** Its hub handed the room over before; the vault as it was, opened by this version. */
async function opened(isOld: boolean) {
  const { stage, bo } = garden();
  const first = move(stage, NEW, 1);
  const { room, core, vault } = await browser(stage, bo, { isOld });
  await core.change((draft) => {
    const { state } = draft.view;
    const moved = state.moved.map((one) => ({ ...one, eventId: new Uint8Array() }));
    draft.view = { ...draft.view, state: { ...state, moved } };
  });
  room.close();
  const again = new Room(vault, room.id, () => undefined);
  onTestFinished(() => again.close());
  return { stage, room: again, first };
}

const ids = (room: Room) => room.state.moved.map(({ eventId }) => eventId.length);
const isFollowed = (room: Room, stage: Stage) => expect.poll(() => room.lastSeq).toBe(stage.end);

test.each([true, false])(
  "is told of the move that it has, and of the next; its control log is to come: %s",
  async (isOld) => {
    const { stage, room, first } = await opened(isOld);
    stage.say(stage.root, text("one"));
    await follow(room, stage, [first]);
    move(stage, RELAY_ID, 2);
    deliver(room, stage, room.lastSeq + 1);
    await isFollowed(room, stage);
    expect([room.saved.status, room.alarms]).toEqual(["active", []]);
  },
);

test("has the ids from its relay", async () => {
  const { stage, room } = await opened(true);
  const chain = stage.log.filter(([, raw]) => isControl(peek(raw).record));
  const [seqs, records] = [chain.map(([seq]) => seq), chain.map(([, raw]) => raw)];
  await follow(room, stage, [], ({ type }) =>
    type === "chain_get" ? { type: "chain_page", seqs, records, more: false } : undefined,
  );
  await expect.poll(() => ids(room)).toEqual([32]);
});

test("loses no more to the next move, by force, than that has not seen", async () => {
  const { stage, room, first } = await opened(false);
  stage.say(stage.root, text("seen"));
  await follow(room, stage);
  const copy = stage.branch();
  stage.say(stage.root, text("void"));
  deliver(room, stage, room.lastSeq + 1);
  await isFollowed(room, stage);
  await follow(room, copy, [first, forced(copy, RELAY_ID, 2)]);
  expect([await shownIn(room), room.cut?.entries, room.alarms]).toEqual([["seen"], 1, []]);
});
