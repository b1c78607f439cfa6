/** What a move by force made void: kept aside, until it is said again in the same words, or seen. */

import "fake-indexeddb/auto";
import { expect, test, vi } from "vitest";
import { SEEN_KEPT } from "../src/client/aside.ts";
import { text } from "../src/client/contents.ts";
import type { RoomCore } from "../src/client/core.ts";
import type { Entry } from "../src/client/entries.ts";
import { keepChain } from "../src/client/journal.ts";
import type { Room } from "../src/client/room.ts";
import { json } from "../src/client/saved.ts";
import { padded, Tables } from "../src/client/tables.ts";
import { Turn } from "../src/client/vault.ts";
import type { Content } from "../src/e2e/bodies.ts";
import { makeGrant } from "../src/e2e/controls.ts";
import type { EpochKeys } from "../src/e2e/epochs.ts";
import { makeBoxedRekey } from "../src/e2e/rekeying.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { randomBytes } from "../src/themis/index.ts";
import { unreadOf } from "../src/ui/unread.ts";
import {
  arrives,
  browser,
  edit,
  follow,
  forced,
  garden,
  OTHER,
  redact,
  shownIn,
} from "./garden.ts";
import { NOW } from "./stage.ts";

const voidIn = async (room: Room) => (await room.voided()).map((entry) => entry.text);
const unreadIn = async (room: Room) => unreadOf(room, await room.history());

/** Root says these in a part that is void, and Bo has read all but the last. */
async function moved(words: readonly string[]) {
  const { stage, bo, cy } = garden();
  const { room, vault, core } = await browser(stage, bo);
  const copy = stage.branch();
  const sids = words.map((one) => fromHex(stage.say(stage.root, text(one)).sid));
  await follow(room, stage);
  await room.markRead(room.lastSeq - 1);
  await follow(room, copy, [forced(copy)]);
  copy.post(makeBoxedRekey(copy.making()));
  await arrives(room, copy);
  return { room, vault, core, copy, sids, bo, cy };
}

test("what was read, and is said again in the same words, is nothing new; the rest is", async () => {
  const { room, copy, sids } = await moved(["read", "read, too", "not read"]);
  expect(await voidIn(room)).toEqual(["read", "read, too", "not read"]);
  copy.say(copy.root, text("read"), sids[0]);
  await arrives(room, copy);
  expect([await unreadIn(room), await voidIn(room)]).toEqual([0, ["read, too", "not read"]]);
  copy.say(copy.root, text("not read"), sids[2]);
  await arrives(room, copy);
  expect([await unreadIn(room), await voidIn(room)]).toEqual([1, ["read, too"]]);
  copy.say(copy.root, text("read, in other words"), sids[1]);
  await arrives(room, copy);
  expect([await unreadIn(room), await voidIn(room)]).toEqual([2, ["read, too"]]);
});

test("of what its person has seen only so much is kept, and all that is to be deleted again", async () => {
  const { room, vault, core } = await moved(["first", "last"]);
  const { void: table } = new Tables(room.id);
  const [[, raw] = []] = await vault.archived(table, { limit: 1 });
  const one = json.read<Entry>(raw as Uint8Array);
  const kept = async () => {
    const all = await vault.archived(table, { limit: Number.POSITIVE_INFINITY });
    return all.map(([, one]) => json.read<Entry>(one).seq).sort((a, b) => a - b);
  };
  await core.change(({ turn }) => {
    for (let seq = 1; seq <= SEEN_KEPT + 50; seq += 1) {
      const aside = { ...one, seq, wasRead: true, ...(seq < 3 && { takenBack: true }) };
      turn.put(table, `old ${padded(seq)}`, json.write(aside));
    }
  });
  expect(await kept()).toHaveLength(SEEN_KEPT + 52); // not seen yet, and so all there
  await room.forgetVoided();
  const left = await kept();
  expect(left).toHaveLength(SEEN_KEPT + 2);
  expect(left.slice(0, 2)).toEqual([1, 2]);
  expect(left.at(-1)).toBe(SEEN_KEPT + 50);
});

test("nobody hides new words behind the sid of another's", async () => {
  const { room, copy, sids, cy } = await moved(["read", "last"]);
  copy.say(cy, text("read"), sids[0]);
  await arrives(room, copy);
  expect([await unreadIn(room), await voidIn(room)]).toEqual([1, ["read", "last"]]);
});

/** The key comes that was missing. */
async function released(room: Room, core: RoomCore, keys: EpochKeys) {
  const { ledger } = room as unknown as { ledger: { release(draft: unknown): Promise<void> } };
  await core.change(async (draft) => {
    draft.view = { ...draft.view, keys };
    await ledger.release(draft);
  });
}

test("what is said again before its key is here is known for the same once that has come", async () => {
  const { room, copy, sids, core } = await moved(["read", "last"]);
  const key = core.view.keys;
  await core.change((draft) => {
    draft.view = { ...draft.view, keys: { ...key, keys: new Map() } };
  });
  copy.say(copy.root, text("read"), sids[0]);
  await arrives(room, copy);
  expect(await voidIn(room)).toEqual(["read", "last"]);
  await released(room, core, key);
  expect([await unreadIn(room), await voidIn(room)]).toEqual([0, ["last"]]);
});

test("the words of a void edit of what stays are kept, until it is edited so again", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const one = stage.say(stage.root, text("one"));
  const copy = stage.branch();
  const sid = randomBytes(16);
  stage.say(stage.root, edit(one.id, "one, edited"), sid);
  await follow(room, stage);
  await follow(room, copy, [forced(copy)]);
  expect([await shownIn(room), await voidIn(room)]).toEqual([["one"], ["one, edited"]]);
  expect(room.cut).toMatchObject({ messages: 1 });
  copy.post(makeBoxedRekey(copy.making()));
  copy.say(copy.root, edit(one.id, "one, edited"), sid);
  await arrives(room, copy);
  expect([await shownIn(room), await voidIn(room)]).toEqual([["one, edited"], []]);
});

const file: Content = {
  type: "file",
  blob_id: new Uint8Array(16).fill(5),
  key: new Uint8Array(32).fill(6),
  size: 1,
  sha256: new Uint8Array(32),
  chunks: [new Uint8Array(32)],
  name: "map.png",
  mime: "image/png",
  caption: "",
  thumb: Uint8Array.of(7),
};

test("a file that was said again is the relay's to forget once its only message is deleted", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  stage.say(bo, file);
  await follow(room, stage);
  const fake = await follow(room, copy, [forced(copy)]);
  const [waiting] = room.waiting();
  expect(waiting?.content).toMatchObject({ type: "file", name: "map.png" });
  copy.post(makeBoxedRekey(copy.making()));
  const again = copy.say(bo, file);
  copy.say(bo, redact(again.id));
  await arrives(room, copy);
  await expect.poll(() => fake.of("blob_drop")).toHaveLength(1);
});

test("control records that are void leave the vault, though an earlier version noted no entries", async () => {
  const { stage, bo, cy } = garden();
  stage.admit(stage.root, OTHER);
  const copy = stage.branch();
  for (const role of ["readonly", "member", "readonly"] as const) {
    stage.postAlone(makeGrant(stage.making(), cy.mid, role, []));
  }
  const { room } = await browser(stage, bo); // its log was read by the earlier version
  await follow(room, stage);
  const first = forced(copy);
  copy.post(makeBoxedRekey(copy.making()));
  copy.say(copy.root, text("where the last of them stood"));
  await follow(room, copy, [first]);
  expect([room.cut?.controls, await shownIn(room)]).toEqual([3, ["where the last of them stood"]]);
  // What holds can be told again: the next move finds the control log whole.
  const further = copy.branch();
  copy.say(copy.root, text("void"));
  await follow(room, copy);
  const second = forced(further, OTHER, 2);
  await follow(room, further, [first, second]);
  expect([room.saved.status, room.state.moved.length]).toEqual(["active", 2]);
});

test("a search, or an export, that is under way when the end of the log is cut shows none of it", async () => {
  const { stage, bo } = garden();
  const { room, vault } = await browser(stage, bo);
  const copy = stage.branch();
  stage.say(stage.root, text("void"));
  await follow(room, stage);
  const move = forced(copy);
  const read = vault.archived.bind(vault);
  const cut = async () => {
    vi.mocked(vault.archived).mockImplementation(read);
    room.receive({ type: "moved", room: room.state.room, records: [move] });
    await expect.poll(() => room.cut).toBeDefined();
  };
  for (const look of [() => room.search("void", { most: 9 }), () => room.exported()]) {
    vi.spyOn(vault, "archived").mockImplementation(async (...args) => {
      const found = await read(...args);
      await cut();
      return found;
    });
    expect(JSON.stringify(await look())).not.toContain("void");
  }
});

test("where a control record stands is known, also of those that a join or a gap brought", async () => {
  const { stage, bo } = garden();
  const { room, vault } = await browser(stage, bo);
  const tables = new Tables(room.id);
  const turn = new Turn(vault);
  keepChain(turn, tables, stage.log.slice(0, 1));
  await vault.commit(turn);
  expect(
    await vault.fetch(tables.index, hex(stage.view(bo).state.heads[0] as Uint8Array)),
  ).toBeDefined();
  expect(await vault.fetch(tables.chain, padded(0))).toBeDefined();
});

test.each([true, false])(
  "what root had deleted in what is void is deleted when it is said again; an owner still: %s",
  async (isOwner) => {
    const { stage, bo, cy } = garden();
    if (!isOwner) stage.postAlone(makeGrant(stage.making(), bo.mid, "co-owner", []));
    const { room } = await browser(stage, isOwner ? stage.root : bo);
    const copy = stage.branch();
    const spam = stage.say(cy, text("spam"));
    stage.say(isOwner ? stage.root : bo, redact(spam.id));
    await follow(room, stage);
    await follow(room, copy, [forced(copy)]);
    if (!isOwner) copy.postAlone(makeGrant(copy.making(), bo.mid, "member", []));
    copy.post(makeBoxedRekey(copy.making()));
    const again = copy.say(cy, text("spam"), fromHex(spam.sid));
    copy.say(cy, text("other words"));
    await arrives(room, copy);
    const [waiting] = room.waiting();
    expect(waiting?.content).toEqual(isOwner ? redact(again.id) : undefined);
    expect(room.waiting()).toHaveLength(isOwner ? 1 : 0);
  },
);

test("comparisons under way are over: steps of them may have come to nothing", async () => {
  const { stage, bo, cy } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  const [run, data] = [new Uint8Array(16), new Uint8Array(32)];
  stage.say(stage.root, { type: "compare", run, to: bo.mid, step: 1, data });
  const fake = await follow(room, stage);
  expect(room.phrasesAsked()).toEqual([hex(stage.root.mid)]);
  const outcome = room.comparePhrase(hex(cy.mid), "blue lentils");
  await expect.poll(() => fake.of("post")).toHaveLength(1);
  await follow(room, copy, [forced(copy)]);
  expect([await outcome, room.phrasesAsked()]).toEqual(["moved", []]);
  expect(room.waiting()).toEqual([]);
});

test("whom a member said to be too, or no longer, in what is void, counts no more", async () => {
  const { stage, bo, cy } = garden();
  const { room } = await browser(stage, bo);
  const [ana, its] = [hex(stage.root.mid), hex(cy.mid)];
  const alias = (member: Uint8Array, removed = false): Content => ({
    type: "alias",
    member,
    removed,
  });
  stage.say(stage.root, alias(cy.mid));
  const copy = stage.branch();
  stage.say(stage.root, alias(cy.mid, true));
  stage.say(stage.root, alias(bo.mid));
  stage.say(cy, alias(stage.root.mid));
  await follow(room, stage);
  const says = () => [
    room.saysToBe(ana, its),
    room.saysToBe(ana, room.me),
    room.saysToBe(its, ana),
  ];
  expect(says()).toEqual([false, true, true]);
  await follow(room, copy, [forced(copy)]);
  expect(says()).toEqual([true, false, false]);
});

test.each([true, false])(
  "what counts again after another move is void no more; its key is there: %s",
  async (isThere) => {
    const { stage, bo, cy } = garden();
    stage.admit(stage.root, OTHER);
    const { room, core } = await browser(stage, bo);
    const copy = stage.branch();
    const said = stage.say(stage.root, text("of root"));
    stage.say(stage.root, edit(said.id, "of root, edited"));
    stage.postAlone(makeGrant(stage.making(), cy.mid, "readonly", []));
    await follow(room, stage);
    await room.markRead(room.lastSeq);
    await follow(room, copy, [forced(copy)]);
    expect(await voidIn(room)).toEqual(["of root, edited", "grant"]);
    const { keys } = core.view;
    if (!isThere) {
      await core.change((draft) => {
        draft.view = { ...draft.view, keys: { ...keys, keys: new Map() } };
      });
    }
    await follow(room, stage, [forced(stage, OTHER, 2)]);
    if (!isThere) {
      expect(await voidIn(room)).toContain("of root, edited");
      await released(room, core, keys);
    }
    expect([await voidIn(room), await unreadIn(room)]).toEqual([["hub_move"], 0]);
    expect(await shownIn(room)).toEqual(["of root, edited"]);
  },
);

test("a relay that delivers a message twice can not have it out of reach", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const one = stage.say(stage.root, text("one"));
  const [at, record] = stage.log.at(-1) as [number, Uint8Array];
  stage.say(stage.root, text("two"));
  const copy = stage.branch();
  await follow(room, stage);
  const seq = room.lastSeq + 1;
  const cell = stage.cells.get(at) as Uint8Array;
  room.receive({ type: "delivery", room: room.state.room, seq, record, cell });
  await expect.poll(() => room.lastSeq).toBe(seq);
  const move = forced(copy);
  copy.post(makeBoxedRekey(copy.making()));
  copy.say(copy.root, edit(one.id, "one, edited"));
  await follow(room, copy, [move]);
  expect(await shownIn(room)).toEqual(["one, edited", "two"]);
});

test("an edit that is said again bears the time when it was made", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const one = stage.say(bo, text("one"));
  const copy = stage.branch();
  stage.say(bo, edit(one.id, "one, edited"));
  await follow(room, stage);
  await follow(room, copy, [forced(copy)]);
  expect(room.waiting()).toMatchObject([{ content: { type: "edit" }, ts: NOW }]);
});

test("what was on the screen when it came to nothing does not count as read for what comes there", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  for (const words of ["one", "two", "three"]) stage.say(stage.root, text(words));
  await follow(room, stage);
  const move = forced(copy);
  room.receive({ type: "moved", room: room.state.room, records: [move] });
  await room.markRead(room.lastSeq); // behind the cut
  copy.post(makeBoxedRekey(copy.making()));
  copy.say(copy.root, text("new"));
  await follow(room, copy, [move]);
  expect(await unreadIn(room)).toBe(1);
});
