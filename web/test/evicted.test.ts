/** Who was evicted in a part of the log that a move by force made void: it is a member again. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { Room } from "../src/client/room.ts";
import { Tables } from "../src/client/tables.ts";
import { makeLeave, signControl } from "../src/e2e/controls.ts";
import { type MemberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { makeBoxedRekey } from "../src/e2e/rekeying.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { LinkLost } from "../src/wire/link.ts";
import { browser, deliver, follow, forced, garden, linkTo, moveOf } from "./garden.ts";
import { refusal } from "./rooms.ts";
import type { Stage } from "./stage.ts";

/** Bo is evicted at the old hub, after this was said there. */
async function evicted(said: (stage: Stage, bo: MemberKeys) => void = () => undefined) {
  const { stage, bo } = garden();
  const { room, vault } = await browser(stage, bo);
  const copy = stage.branch();
  said(stage, bo);
  await follow(room, stage);
  const { signed } = makeBoxedRekey(stage.making(), [bo.mid]);
  room.receive({
    type: "removed",
    room: room.state.room,
    record: signed.envelope,
    code: "evicted",
  });
  await expect.poll(() => room.saved.status).toBe("removed");
  room.detach();
  return { stage, copy, room, vault, record: signed.envelope };
}

const asks = async (room: Room, stage: Stage, told: Uint8Array[] = []) => {
  const fake = linkTo(room, stage, told);
  const attached = room.attach(fake.link, newMemberKeys().sign.public);
  await expect.poll(() => fake.of("attach")).toHaveLength(1);
  return { fake, attached };
};

test.each([
  ["when that is all that is void", () => undefined],
  ["with what it had said", (stage: Stage, bo: MemberKeys) => void stage.say(bo, text("void"))],
])("it comes back, and is told so, %s", async (_, said) => {
  const { copy, room } = await evicted(said);
  const move = forced(copy);
  await follow(room, copy, [move]);
  expect([room.saved.status, room.saved.reason, room.isLive]).toEqual(["active", "", true]);
  expect(room.alarms).toEqual(["removal_void"]);
  expect(room.state.members.has(room.me)).toBe(true);
  await room.send(text("here I am"));
  expect(room.waiting().at(-1)).toMatchObject({ failed: "" });
});

test("a file that was on its way goes on when it comes back, and is gone with it when it left", async () => {
  for (const isVoid of [true, false]) {
    const { stage, bo } = garden();
    const { room, vault } = await browser(stage, bo);
    const copy = stage.branch();
    let lose: () => void = () => undefined;
    const lost = new Promise((_, reject) => {
      lose = () => reject(new LinkLost("closed"));
    });
    const old = await follow(room, stage, [], ({ type }) =>
      type === "blob_put" ? lost : undefined,
    );
    void room.sendFile(new File(["seeds"], "plan.txt")).catch(() => undefined);
    await expect.poll(() => old.of("blob_put")).toHaveLength(1);
    const out = isVoid
      ? makeBoxedRekey(stage.making(), [bo.mid]).signed
      : makeLeave(stage.making(bo));
    const code = isVoid ? "evicted" : "left";
    room.receive({ type: "removed", room: room.state.room, record: out.envelope, code });
    await expect.poll(() => room.uploads()).toMatchObject([{ problem: "out_gone" }]);
    lose();
    old.close();
    if (!isVoid) {
      const { uploads } = new Tables(room.id);
      await expect.poll(() => vault.items(uploads)).toEqual([]);
      continue;
    }
    const fake = await follow(room, copy, [forced(copy)]);
    await expect.poll(() => fake.of("blob_put")).toHaveLength(1);
    await expect.poll(() => room.waiting()).toMatchObject([{ content: { name: "plan.txt" } }]);
    expect(room.uploads()).toEqual([]);
  }
});

test("the void eviction shown again puts nobody out; one that stands does, whatever the code", async () => {
  const { copy, room, record } = await evicted();
  await follow(room, copy, [forced(copy)]);
  const removed = async (record: Uint8Array, code: string) => {
    room.receive({ type: "removed", room: room.state.room, record, code });
    await room.goOnAfter(Promise.resolve());
  };
  await removed(record, "evicted");
  expect([room.saved.status, room.refusal, room.isLive]).toEqual(["active", "evicted", false]);
  await follow(room, copy);
  const { signed } = makeBoxedRekey(copy.making(), [fromHex(room.me)]);
  await removed(signed.envelope, "left");
  expect([room.saved.status, room.saved.reason]).toEqual(["removed", "evicted"]);
});

test("told while it is not let in, it asks on the next link, also after a reload", async () => {
  const { copy, room, vault } = await evicted();
  const refusing = linkTo(room, copy, [], ({ type }) =>
    type === "attach" ? refusal("not_found") : undefined,
  );
  await room.attach(refusing.link, newMemberKeys().sign.public);
  expect([room.saved.status, room.saved.reason]).toEqual(["removed", "evicted"]);
  room.receive({ type: "moved", room: room.state.room, records: [forced(copy)] });
  await expect.poll(() => refusing.isClosed).toBe(true);
  expect(room.alarms).toEqual([]); // what it was evicted in is not here: it may hold
  room.close();
  const again = new Room(vault, room.id, () => undefined);
  await follow(again, copy);
  expect([again.isLive, again.alarms]).toEqual([true, ["removal_void"]]);
  again.close();
});

test("no relay brings it back by its word alone, and no move that is not root's", async () => {
  const { copy, room } = await evicted((stage, bo) => void stage.say(bo, text("there")));
  const { fake, attached } = await asks(room, copy);
  await attached;
  expect([room.saved.status, room.isLive, fake.of("sync")]).toEqual(["removed", false, []]);
  const move = forced(copy).slice();
  move[move.length - 1] = (move.at(-1) as number) ^ 1;
  room.receive({ type: "moved", room: room.state.room, records: [move] });
  deliver(room, copy, copy.end);
  await room.goOnAfter(Promise.resolve());
  expect([room.saved.status, room.alarms]).toEqual(["removed", []]);
});

test("a move that makes nothing void brings nobody back", async () => {
  const { stage, room } = await evicted();
  const signed = signControl(stage.making(), { ...moveOf(stage).record, force: false });
  const { attached } = await asks(room, stage, [signed.envelope]);
  await attached;
  expect([room.saved.status, room.saved.reason, room.alarms]).toEqual(["removed", "evicted", []]);
});

test("who left is not brought back by that", async () => {
  const { stage, bo } = garden();
  const { room, core } = await browser(stage, bo);
  await core.change((draft) => {
    draft.saved = { ...draft.saved, status: "removed", reason: "left" };
  });
  room.receive({ type: "moved", room: room.state.room, records: [forced(stage.branch())] });
  const fake = linkTo(room, stage);
  await room.attach(fake.link, newMemberKeys().sign.public);
  expect([room.saved.status, fake.asked, hex(bo.mid)]).toEqual(["removed", [], room.me]);
});
