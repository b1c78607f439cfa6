/** Encryption keys that renew themselves: what opens when, and what a client does by itself. */

import "fake-indexeddb/auto";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";

import { ControlDesk } from "../src/client/controldesk.ts";
import { RoomCore } from "../src/client/core.ts";
import { Duties } from "../src/client/duties.ts";
import { RenewDuty } from "../src/client/renewing.ts";
import { Room } from "../src/client/room.ts";
import { savedMemberKeys } from "../src/client/saved.ts";
import type { Vault } from "../src/client/vault.ts";
import { openBox, sealBox } from "../src/e2e/boxes.ts";
import { applyVerified } from "../src/e2e/chain.ts";
import { acceptHandover, type Making } from "../src/e2e/controls.ts";
import { makeInvite } from "../src/e2e/invites.ts";
import { checkAdmitted } from "../src/e2e/joining.ts";
import { holding, type MemberKeys, newMemberKeys, turnedTo } from "../src/e2e/keys.ts";
import { seenOf } from "../src/e2e/log.ts";
import {
  isSpent,
  makeBoxedRekey,
  makeKeyAnswer,
  makeKeyRequest,
  makeRekey,
} from "../src/e2e/rekeying.ts";
import { makeKeyUpdate, nextRenewal } from "../src/e2e/renewing.ts";
import { safetyNumber } from "../src/e2e/trust.ts";
import type { View } from "../src/e2e/view.ts";
import { equal, hex } from "../src/protocol/bytes.ts";
import { KEY_RENEWALS, type Member, memberOf, type RoomState } from "../src/protocol/room.ts";
import { eventId, generateKeyPair, peek } from "../src/themis/index.ts";
import { FakeLink, founded, Hub, keep, newVault, refusal, URL_ } from "./rooms.ts";

const NOW = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOW });
  vi.spyOn(Math, "random").mockReturnValue(0);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** A room of two whose root has a key that was of use for two days; `mine`: what root changes. */
async function aged(changes: Partial<Member> = {}) {
  const room = await founded();
  const first = memberOf(room.state, room.root.mid);
  const past = Date.now() - 2 * DAY_MS;
  const bo = newMemberKeys();
  const member = (keys: MemberKeys) => ({
    mid: keys.mid,
    signKey: keys.sign.public,
    encKey: keys.encrypt.public,
    firstEncKey: keys.encrypt.public,
  });
  const ana: Member = { ...first, renewedTs: past, boxedTs: past, ...changes };
  const other: Member = { ...first, ...member(bo), role: "member" };
  const members = new Map([
    [hex(ana.mid), ana],
    [hex(bo.mid), other],
  ]);
  const view: View = { ...room.view, state: { ...room.state, members } };
  return { ...room, view, state: view.state, bo };
}

const making = (view: View, mine = view.mine): Making => ({
  state: view.state,
  mine,
  seen: seenOf(view.log),
  now: Date.now(),
});

const applied = ({ state }: View, envelope: Uint8Array): RoomState =>
  applyVerified(state, envelope, state.seq + 1).state;

const content = (room: Uint8Array) => ({
  epoch: 1,
  key_commitment: room,
  prev: room,
  key: new Uint8Array(32).fill(3),
});

test("a box for a former key opens until that is forgotten, one for the new key from then on", () => {
  const [ana, bo, room] = [newMemberKeys(), newMemberKeys(), new Uint8Array(32)];
  const party = ({ mid, encrypt }: MemberKeys) => ({ mid, encKey: encrypt.public });
  const early = sealBox("key", ana, party(bo), room, content(room));
  const pair = generateKeyPair();
  const turned = turnedTo(holding(bo, pair), pair.public, NOW);
  expect(hex(turned.encrypt.public)).toBe(hex(pair.public));
  expect(turned.others.map(({ replaced }) => replaced)).toEqual([NOW]);
  expect(openBox("key", turned, party(ana), room, early)).toEqual(content(room));
  const healed = { ...turned, others: [] };
  expect(() => openBox("key", healed, party(ana), room, early)).toThrow(/does not open/);
  const late = sealBox("key", ana, party(turned), room, content(room));
  expect(openBox("key", healed, party(ana), room, late)).toEqual(content(room));
  expect(() => openBox("key", bo, party(ana), room, late)).toThrow(/does not open/);
  expect(turnedTo(bo, generateKeyPair().public, NOW)).toBe(bo);
  // A box of one's own, come back: it opens under the former key, and is refused by its names.
  const own = sealBox("key", bo, party(ana), room, content(room));
  expect(() => openBox("key", turned, party(ana), room, own)).toThrow(/another sender/);
});

test("numbers that people compare stay, and an admitter's word is no longer asked", async () => {
  const { view, bo } = await aged();
  const [me, other] = [memberOf(view.state, view.mine.mid), memberOf(view.state, bo.mid)];
  const before = safetyNumber(view.state, me, other);
  const next = generateKeyPair();
  const state = applied(view, makeKeyUpdate(making(view), next.public).envelope);
  const renewed = memberOf(state, view.mine.mid);
  expect(hex(renewed.encKey)).toBe(hex(next.public));
  expect(safetyNumber(state, renewed, memberOf(state, bo.mid))).toBe(before);
  expect(checkAdmitted(state, view.mine)).toBe(renewed);
  const swapped = { ...me, encKey: next.public, firstEncKey: next.public };
  const lied = { ...state, members: new Map([[hex(me.mid), swapped]]) };
  expect(() => checkAdmitted(lied, view.mine)).toThrow(/another key/);
});

test("who has not the key that others box for makes no box", async () => {
  const { view, bo } = await aged();
  const state = applied(view, makeKeyUpdate(making(view), generateKeyPair().public).envelope);
  const lost = making({ ...view, state });
  expect(() => makeBoxedRekey(lost)).toThrow("bad key");
  expect(() => makeInvite(lost, URL_, { expires: NOW + DAY_MS })).toThrow("bad key");
  const { envelope } = makeKeyRequest(state, bo, NOW);
  expect(() => makeKeyAnswer(state, view.mine, view.keys, envelope)).toThrow("bad key");
  const { box } = makeKeyAnswer(view.state, view.mine, view.keys, envelope);
  expect(box.length).toBeGreaterThan(0);
});

test("of a member so many are taken, and no key that is in use", async () => {
  const { view, bo } = await aged();
  for (const taken of [bo.encrypt, bo.sign, view.mine.encrypt, view.mine.sign]) {
    expect(() => makeKeyUpdate(making(view), taken.public)).toThrow("bad key");
  }
  const out = await aged({ renewals: KEY_RENEWALS + 1 });
  expect(() => makeKeyUpdate(making(out.view), generateKeyPair().public)).toThrow(/quota/);
  const spent = await aged({ renewals: KEY_RENEWALS });
  // An owner has one more: who lost this key could not make the boxed rotation.
  makeKeyUpdate(making(spent.view), generateKeyPair().public);
  const plain = await aged({ renewals: KEY_RENEWALS, role: "member" });
  expect(() => makeKeyUpdate(making(plain.view), generateKeyPair().public)).toThrow(/quota/);
  expect(isSpent(making(spent.view))).toBe(true);
  expect(makeRekey(making(spent.view), spent.view.keys).signed.record.type).toBe("rekey_boxed");
  expect(isSpent(making(view))).toBe(false);
  expect(makeRekey(making(view), view.keys).signed.record.type).toBe("rekey");
});

test.each([
  [2, 1],
  [35, 1],
  [70, 2],
  [500, 14],
])("of %i members each renews after %i days of use", async (count, days) => {
  const { view, root } = await aged();
  const me = memberOf(view.state, root.mid);
  const members = new Map<string, Member>();
  for (let at = 1; at < count; at += 1) members.set(String(at), me);
  const due = (changes: Partial<Member>, now = NOW + 19 * DAY_MS) => {
    const mine = { ...me, renewedTs: NOW, boxedTs: NOW, ...changes };
    const state = { ...view.state, members: new Map(members).set(hex(root.mid), mine) };
    return nextRenewal(state, root.mid, now);
  };
  expect(due({})).toBe(NOW + days * DAY_MS);
  expect([due({ boxedTs: 0 }), due({ renewals: KEY_RENEWALS - 1 })]).toEqual([
    undefined,
    undefined,
  ]);
  expect(due({ boxedTs: NOW + DAY_MS }, NOW)).toBe(NOW + days * DAY_MS);
  expect(due({ boxedTs: NOW + 99 * DAY_MS })).toBe(NOW + days * DAY_MS); // and stays
  expect(due({ renewedTs: NOW + DAY_MS }, NOW)).toBe(NOW);
  expect(nextRenewal({ ...view.state, members: new Map() }, root.mid, NOW)).toBeUndefined();
});

test("renewals wear out no heir's acceptance", async () => {
  const { view } = await aged();
  const heads = view.state.heads;
  const state = applied(view, makeKeyUpdate(making(view), generateKeyPair().public).envelope);
  expect(state.heads).toEqual(heads);
  expect(acceptHandover({ ...making(view), state }).record.ctl).toEqual(heads.at(-1));
});

/** That room on a relay that keeps what it is sent; `refuse` may answer in its place. */
async function served(changes: Partial<Member> = {}) {
  const room = await aged(changes);
  const vault = await newVault();
  await keep(vault, room.view);
  const sent: Uint8Array[] = [];
  let current: Room | undefined;
  const relay = { refuse: (): Error | undefined => undefined };
  const hub = new Hub(room, (request) => {
    if (request.type !== "control") return undefined;
    sent.push(request.record);
    const refused = relay.refuse();
    if (refused !== undefined) return refused;
    hub.post(request.record);
    const seq = room.records.length - 1;
    const place = { room: room.state.room, seq };
    const record = request.record;
    current?.receive({ type: "delivery", ...place, record, cell: new Uint8Array() } as never);
    const log = hub.hashes.at(-1);
    return { type: "ack", rid: 0, ...place, event_id: eventId(peek(record)), log };
  });
  const come = async (from: Vault = vault) => {
    const opened = new Room(from, room.id, () => undefined);
    current = opened;
    onTestFinished(() => opened.close());
    await opened.attach(hub.connect().link, generateKeyPair().public);
    return opened;
  };
  const mine = () => savedMemberKeys.read(vault.get(`room/${room.id}`, "mine") ?? new Uint8Array());
  const isCurrent = () => equal(memberOf(hub.view.state, room.root.mid).encKey, encKey());
  const encKey = () => mine().encrypt.public;
  return { ...room, hub, relay, vault, sent, come, mine, isCurrent };
}

const patient = { timeout: 10_000 };

test("a key is renewed once it is due, kept before, and forgotten after", async () => {
  const { sent, come, mine, isCurrent, root, hub } = await served();
  let room = await come();
  await expect.poll(() => sent.length, patient).toBe(1);
  await expect.poll(isCurrent, patient).toBe(true);
  expect(mine().others.map((pair) => hex(pair.public))).toEqual([hex(root.encrypt.public)]);
  expect(memberOf(hub.view.state, root.mid).renewals).toBe(1);
  expect(await room.history()).toEqual([]);
  room.close();
  vi.setSystemTime(NOW + 2 * HOUR_MS);
  room = await come();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(mine().others).toHaveLength(1); // on a new link: perhaps somebody waits to be let in
  room.close();
  vi.setSystemTime(NOW + 25 * HOUR_MS);
  await come();
  await expect.poll(() => mine().others, patient).toEqual([]);
  const renewals = sent.filter((raw) => peek(raw).record.type === "update_e");
  expect([renewals.length, isCurrent()]).toEqual([1, true]);
});

test("the pair is the same however often it is sent: after a conflict, a lost link, a crash", async () => {
  const { sent, relay, come, mine, isCurrent } = await served();
  relay.refuse = () => refusal("rate_limited", { retry_after: 600_000 });
  const room = await come();
  await expect.poll(() => sent.length, patient).toBe(1);
  const [next] = mine().others;
  expect(next?.replaced).toBe(0);
  room.close();
  relay.refuse = () => undefined;
  await come();
  await expect.poll(isCurrent, patient).toBe(true);
  const named = sent.map((raw) => peek(raw).record).map((it) => "enc_key" in it && hex(it.enc_key));
  expect(named).toEqual([hex(next?.public as Uint8Array), hex(next?.public as Uint8Array)]);
  expect(mine().others).toHaveLength(1);
});

test("nothing is renewed that was of no use, is young, or was renewed often enough", async () => {
  for (const changes of [
    { boxedTs: 0 },
    { renewedTs: NOW - HOUR_MS },
    { renewals: KEY_RENEWALS - 1 },
  ]) {
    const { sent, come } = await served(changes);
    await come();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sent).toEqual([]);
  }
});

test("a vault put back without its key renews that before all else", async () => {
  const lost = generateKeyPair().public;
  const { sent, come, isCurrent, mine } = await served({ encKey: lost, boxedTs: 0 });
  const room = await come();
  await expect.poll(isCurrent, patient).toBe(true);
  expect(sent.map((raw) => peek(raw).record.type)).toEqual(["update_e"]);
  expect(hex(mine().encrypt.public)).not.toBe(hex(lost));
  expect([room.saved.status, room.alarms]).toEqual(["active", ["key_replaced"]]);
});

test("a pair that somebody else has taken is made anew", async () => {
  const { vault, id, bo } = await served();
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  const pair = generateKeyPair();
  const taken: Member = { ...memberOf(core.view.state, bo.mid), encKey: pair.public };
  await core.change((draft) => {
    const { state, mine } = draft.view;
    const members = new Map(state.members).set(hex(bo.mid), taken);
    draft.view = { ...draft.view, state: { ...state, members }, mine: holding(mine, pair) };
  });
  const run = vi.fn(async (_: string, make: () => unknown) => void make());
  const controls = { run, making: making(core.view) } as unknown as ControlDesk;
  core.link = new FakeLink(() => undefined).link;
  core.isLive = true;
  new RenewDuty(core, controls, () => false).check();
  await expect.poll(() => run.mock.calls.length, patient).toBe(1);
  const [next, ...others] = core.view.mine.others;
  expect([others.length, next?.replaced, core.alarms.all]).toEqual([0, 0, []]);
  expect(hex(next?.public as Uint8Array)).not.toBe(hex(pair.public));
});

test("a former key stays while somebody waits, for a week at most; a moment ahead is no age", async () => {
  const { vault, id } = await served({ boxedTs: 0 });
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  let isWaiting = true;
  const duty = new RenewDuty(core, new ControlDesk(core), () => isWaiting);
  const aging = async (...replaced: number[]) => {
    await core.change((draft) => {
      const others = replaced.map((at) => ({ ...generateKeyPair(), replaced: at }));
      draft.view = { ...draft.view, mine: { ...draft.view.mine, others } };
    });
    duty.check();
    await core.change(() => undefined);
    return core.view.mine.others.map((pair) => pair.replaced);
  };
  core.link = new FakeLink(() => undefined).link;
  core.isLive = true;
  const [young, old, ancient] = [NOW - HOUR_MS + 1, NOW - 2 * DAY_MS, NOW - 7 * DAY_MS];
  expect(await aging(young, old, ancient)).toEqual([young, old]);
  isWaiting = false;
  expect(await aging(young, NOW - HOUR_MS, old)).toEqual([young, NOW - HOUR_MS]);
  vi.setSystemTime(NOW + 60_000);
  expect(await aging(NOW - HOUR_MS, old, NOW + 60_500, NOW + 2 * HOUR_MS)).toEqual([NOW + 60_500]);
  await core.change((draft) => {
    draft.view = { ...draft.view, keys: { ...draft.view.keys, keys: new Map() } };
  });
  expect(await aging(NOW - 2 * HOUR_MS)).toEqual([NOW - 2 * HOUR_MS]);
});

test("a clock that was ahead puts no renewal off", async () => {
  const { vault, id } = await served();
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  const run = vi.fn(async () => undefined);
  const controls = { run } as unknown as ControlDesk;
  const duty = new RenewDuty(core, controls, () => false);
  core.link = new FakeLink(() => undefined).link;
  core.isLive = true;
  for (const [now, count] of [
    [NOW + 365 * DAY_MS, 1],
    [NOW + 365 * DAY_MS + HOUR_MS, 1],
    [NOW, 2],
    [NOW - 1_000, 2],
  ] as const) {
    vi.setSystemTime(now);
    duty.check();
    await expect.poll(() => run.mock.calls.length, patient).toBe(count);
    await core.change(() => undefined);
  }
});

test("who asks for the key is answered once all is here that came before", async () => {
  const { vault, id, state, bo } = await served({ boxedTs: 0 });
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  const duties = new Duties(core, new ControlDesk(core), async () => undefined);
  const fake = new FakeLink(() => undefined);
  core.link = fake.link;
  const asks = () => duties.asked(makeKeyRequest(state, bo, NOW).envelope);
  asks();
  expect(fake.of("key_answer")).toEqual([]);
  duties.linkLost(); // the next relay shows it again
  core.isLive = true;
  duties.check();
  expect(fake.of("key_answer")).toEqual([]);
  core.isLive = false;
  asks();
  core.isLive = true;
  duties.check();
  expect(fake.of("key_answer")).toHaveLength(1);
  asks();
  expect(fake.of("key_answer")).toHaveLength(2);
});
