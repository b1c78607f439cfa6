/** What a client does for its room by itself: beats; and whose devices belong together. */

import "fake-indexeddb/auto";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";

import { Aliases } from "../src/client/aliases.ts";
import { BeatDuty, delayOf, noteEnd, SPREAD_MS } from "../src/client/beats.ts";
import { RoomCore } from "../src/client/core.ts";
import { Outbox } from "../src/client/outbox.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { makeRekey } from "../src/e2e/rekeying.ts";
import { hex } from "../src/protocol/bytes.ts";
import { type Member, memberOf } from "../src/protocol/room.ts";
import { following } from "./following.ts";
import { founded, keep, newVault } from "./rooms.ts";

const MINUTE_MS = 60_000;

/** A room of so many. */
async function roomOf(count: number, beat_minutes = 10) {
  const room = await founded({ beat_minutes });
  const { view, root } = room;
  const first = memberOf(view.state, root.mid);
  const more = Array.from({ length: count - 1 }, () => newMemberKeys());
  const members = new Map(view.state.members);
  for (const { mid } of more) members.set(hex(mid), { ...first, mid, role: "member" } as Member);
  const vault = await newVault();
  await keep(vault, { ...view, state: { ...view.state, members } });
  const core = new RoomCore(vault, room.id, () => undefined);
  onTestFinished(() => core.close());
  const outbox = new Outbox(core);
  const beats = new BeatDuty(core, outbox);
  core.isLive = true;
  return { core, outbox, beats, others: more.map(({ mid }) => hex(mid)) };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const beatsOf = (outbox: Outbox) => outbox.items().filter(({ content }) => content.type === "beat");
const said = (seen = -1) => ({ isBeat: false, isMine: false, seen });

test("after a silence one beats, once; who is two, or was told not to, never does", async () => {
  const { core, outbox, beats } = await roomOf(3);
  await core.change((draft) => noteEnd(draft, 5, said()));
  beats.check();
  vi.advanceTimersByTime(10 * MINUTE_MS - 1);
  await core.change(() => undefined);
  expect(beatsOf(outbox)).toEqual([]);
  vi.advanceTimersByTime(SPREAD_MS + 2);
  await core.change(() => undefined);
  expect(beatsOf(outbox)).toHaveLength(1);
  beats.check();
  vi.advanceTimersByTime(60 * MINUTE_MS);
  await core.change(() => undefined);
  expect(beatsOf(outbox)).toHaveLength(1);

  for (const quiet of [await roomOf(2), await roomOf(3, 0)]) {
    await quiet.core.change((draft) => noteEnd(draft, 5, said()));
    quiet.beats.check();
    vi.advanceTimersByTime(60 * MINUTE_MS);
    await quiet.core.change(() => undefined);
    expect(quiet.outbox.items()).toEqual([]);
  }
});

test("another's beat, or own words, confirm the end; a beat confirms no more than it has seen", async () => {
  const { core, outbox, beats } = await roomOf(3);
  const note = (seq: number, entry: Parameters<typeof noteEnd>[2]) =>
    core.change((draft) => noteEnd(draft, seq, entry));
  await note(5, said());
  await note(6, { isBeat: true, isMine: false, seen: 4 });
  expect([core.marks.unconfirmed, core.marks.said]).toEqual([5, 5]);
  beats.check();
  await note(7, { isBeat: true, isMine: false, seen: 6 });
  expect([core.marks.unconfirmed, core.marks.said]).toEqual([-1, 5]);
  beats.check();
  vi.advanceTimersByTime(60 * MINUTE_MS);
  await core.change(() => undefined);
  expect(outbox.items()).toEqual([]);
  await note(8, said());
  await note(9, { isBeat: false, isMine: true, seen: 8 });
  expect([core.marks.unconfirmed, core.marks.said]).toEqual([-1, 9]);
  await note(10, undefined); // what nobody can be said to have sent
  expect(core.marks.unconfirmed).toBe(10);
});

test("who has something to say anyway does not beat beside it", async () => {
  const { core, outbox, beats } = await roomOf(3);
  core.isLive = false;
  await outbox.send({ type: "profile", name: "Ana" });
  core.isLive = true;
  await core.change((draft) => noteEnd(draft, 5, said()));
  beats.check();
  vi.advanceTimersByTime(60 * MINUTE_MS);
  await core.change(() => undefined);
  expect(beatsOf(outbox)).toEqual([]);
});

test("of many members few are early", () => {
  expect([delayOf(500, 0), delayOf(500, 1)]).toEqual([0, SPREAD_MS]);
  expect(delayOf(500, 0.5)).toBeGreaterThan(0.85 * SPREAD_MS);
  expect(delayOf(3, 0.5)).toBeLessThan(0.7 * SPREAD_MS);
});

test("devices are one person's once both say so, for as long as both do", async () => {
  const { core, others } = await roomOf(3);
  const aliases = new Aliases(core);
  const [bo, cy] = others as [string, string];
  const say = (from: string, member: string, removed = false) =>
    core.change((draft) =>
      aliases.heard(draft, from, {
        type: "alias",
        member: Uint8Array.from(Buffer.from(member, "hex")),
        removed,
      }),
    );
  await say(bo, cy);
  expect([aliases.sameAs(bo), aliases.says(bo, cy)]).toEqual([[], true]);
  await say(cy, bo);
  expect([aliases.sameAs(bo), aliases.sameAs(cy)]).toEqual([[cy], [bo]]);
  await say(bo, bo);
  await say(cy, bo, true);
  expect([aliases.sameAs(bo), aliases.sameAs(cy)]).toEqual([[], []]);
  for (let at = 0; at < 20; at += 1) await say(bo, hex(newMemberKeys().mid));
  expect(aliases.says(bo, cy)).toBe(true);
  expect(
    JSON.parse(Buffer.from(core.vault.get(core.tables.aliases, bo) ?? []).toString()),
  ).toHaveLength(16);
});

test("a key that no owner came to renew is told of, once, until it is renewed", async () => {
  const { room, core, hear, deliver, append, making, view } = await following();
  const { rotate_hours } = core.view.state.policy;
  const after = async (hours: number) => {
    vi.setSystemTime(Date.now() + hours * 60 * MINUTE_MS);
    await hear({ type: "key_asked", record: new Uint8Array() }); // what is due is looked at
    return room.alarms;
  };
  expect(await after(1.9 * rotate_hours)).toEqual([]);
  expect(await after(0.2 * rotate_hours)).toEqual(["key_old"]);
  await room.dismissAlarm("key_old");
  expect(await after(1)).toEqual([]);
  const { signed } = makeRekey(making, view.keys);
  append(signed.envelope);
  await deliver(signed.envelope);
  expect(room.epoch).toBe(1);
  expect(await after(3 * rotate_hours)).toEqual([]); // nothing was said under it
});
