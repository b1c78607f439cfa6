/** Root, whose room's relay is gone for good: what it looks at, and what it does not sign. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { text } from "../src/client/contents.ts";
import type { RoomCore } from "../src/client/core.ts";
import { makeHome, type Place } from "../src/client/moving.ts";
import type { Room } from "../src/client/room.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { hex } from "../src/protocol/bytes.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { hubOf } from "../src/protocol/room.ts";
import { peek } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import { browser, deliver, follow, garden, linkTo, NEW, NEW_URL, OTHER } from "./garden.ts";
import { RELAY_ID, URL_ } from "./rooms.ts";
import type { Stage } from "./stage.ts";

const THERE: Place = { url: NEW_URL, relayId: NEW };

/** Root's browser, which hears what is said at the old relay alone; `copy` is what another one has. */
async function rooted(stage: Stage, copy: Stage, say: () => void = () => undefined) {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }); // nothing waits for a time to pass
  onTestFinished(() => void vi.useRealTimers());
  const { room, moved } = await browser(stage, stage.root);
  say();
  await follow(room, stage);
  const links: ReturnType<typeof linkTo>[] = [];
  const open = () => {
    room.leaveLink();
    if (room.url !== NEW_URL) return; // the old relay is gone
    const fake = linkTo(room, copy, [], (request) => {
      if (request.type === "sync") queueMicrotask(() => deliver(room, copy, request.start));
      if (request.type === "control") queueMicrotask(() => deliver(room, copy, copy.end));
      return taking(copy, request);
    });
    links.push(fake);
    void room.attach(fake.link, newMemberKeys().sign.public);
    void fake.closed.then(open);
  };
  moved.mockImplementation(open);
  const forcedThere = () => links.flatMap((link) => link.of("control"));
  return { room, forcedThere };
}

/** The new hub takes the move, and the new key that has to come next. */
function taking(copy: Stage, request: Request): object | undefined {
  if (request.type !== "control") return undefined;
  const signed = peek(request.record) as Parameters<Stage["postAlone"]>[0];
  copy.post({ signed, boxes: request.boxes });
  return { type: "ack", seq: copy.end, log: copy.hash };
}

const isBack = (room: Room) => expect([room.url, room.relayId]).toEqual([URL_, RELAY_ID]);

test("root is told what the copy lacks, and has the room go on from it; its own words are said again", async () => {
  const { stage, bo } = garden();
  const copy = stage.branch();
  const { room, forcedThere } = await rooted(stage, copy, () => {
    stage.say(stage.root, text("mine"));
    stage.say(bo, text("Bo's"));
  });
  const found = await room.surveyHub(THERE);
  expect(found).toMatchObject({ seq: copy.end, messages: 2, own: 1 });
  expect(forcedThere()).toEqual([]);
  isBack(room);
  const home = vi.spyOn(room, "moveHome").mockResolvedValue();
  await room.forceHub(found);
  const [asked] = forcedThere() as Extract<Request, { type: "control" }>[];
  const { record } = peek(asked?.record as Uint8Array);
  expect(record).toMatchObject({ type: "hub_move", hub: NEW, term: 1, force: true });
  expect((record as RecordOf<"hub_move">).seen.seq).toBe(found.seq);
  expect(hubOf(room.state)).toEqual(NEW);
  expect(room.waiting().map(({ content }) => content)).toMatchObject([{ text: "mine" }]);
  expect(home).toHaveBeenCalledWith(THERE); // it was at home at the relay that is gone
});

test("what the page did not get to when it was closed is done when the same is asked for again", async () => {
  const { stage } = garden();
  const { room, forcedThere } = await rooted(stage, stage.branch());
  const home = vi.spyOn(room, "moveHome").mockRejectedValueOnce(new Error("closed"));
  await expect(room.forceHub(await room.surveyHub(THERE))).rejects.toThrow("closed");
  home.mockResolvedValueOnce();
  const found = await room.surveyHub(THERE);
  expect(found).toMatchObject({ seq: room.lastSeq, messages: 0 });
  await room.forceHub(found);
  expect(home.mock.calls).toEqual([[THERE], [THERE]]);
  await expect.poll(forcedThere).toHaveLength(2); // the move, and the key that has to come next
});

test("a copy as long as what is known here loses nothing, and one that is longer is caught up with", async () => {
  const { stage, bo } = garden();
  const copy = stage.branch();
  copy.say(bo, text("not heard yet"));
  const { room } = await rooted(stage, copy);
  const found = await room.surveyHub(THERE);
  expect(found).toMatchObject({ seq: copy.end, messages: 0, own: 0 });
  expect(room.lastSeq).toBe(copy.end);
});

test("what would undo a change of the room is not signed: root is back where it was", async () => {
  const { stage, bo } = garden();
  const copy = stage.branch();
  const { room, forcedThere } = await rooted(stage, copy, () => {
    stage.postAlone(makeHome(stage.making(bo), OTHER));
  });
  await expect(room.surveyHub(THERE)).rejects.toMatchObject({ fault: "copy_lacks" });
  expect(forcedThere()).toEqual([]);
  isBack(room);
});

test("a copy of another log is none to go on from", async () => {
  const { stage, bo } = garden();
  const copy = stage.branch();
  copy.say(bo, text("another"));
  const { room } = await rooted(stage, copy, () => {
    stage.say(bo, text("one"));
    stage.say(bo, text("more"));
  });
  await expect(room.surveyHub(THERE)).rejects.toMatchObject({ fault: "other_log" });
  isBack(room);
});

test("a copy that has changed since it was looked at is looked at again first", async () => {
  const { stage, bo } = garden();
  const copy = stage.branch();
  const { room, forcedThere } = await rooted(stage, copy, () => {
    stage.say(bo, text("one"));
  });
  const found = await room.surveyHub(THERE);
  const other = { ...found, seq: found.seq - 1 };
  await expect(room.forceHub(other)).rejects.toMatchObject({ fault: "copy_changed" });
  expect(forcedThere()).toEqual([]);
});

test.each([
  ["already_there", { url: URL_, relayId: RELAY_ID }],
  ["no_copy", { url: "ws://other.example", relayId: OTHER }],
])("nothing is looked at where that can not be: %s", async (fault, place) => {
  const { stage } = garden();
  const { room } = await rooted(stage, stage);
  await expect(room.surveyHub(place)).rejects.toMatchObject({ fault });
  expect(hex(room.relayId)).toBe(hex(RELAY_ID));
});

test("root moves a frozen room, too, which thaws it", async () => {
  const { stage, bo } = garden();
  const copy = stage.branch();
  const { room, forcedThere } = await rooted(stage, copy, () => stage.say(bo, text("Bo's")));
  const { core } = room as unknown as { core: RoomCore };
  await core.enqueue(() => core.freeze("two_logs 1", 1, "equivocation"));
  expect([room.mayMoveHub, room.mayForceHub]).toEqual([false, true]);
  const found = await room.surveyHub(THERE);
  expect([found.seq, found.messages, room.saved.status]).toEqual([copy.end, 1, "frozen"]);
  isBack(room);
  vi.spyOn(room, "moveHome").mockResolvedValue();
  await room.forceHub(found);
  expect([room.saved.status, room.isLive, hubOf(room.state)]).toEqual(["active", true, NEW]);
  await expect.poll(forcedThere).toHaveLength(2); // the move, and the key that has to come next
});
