/** A room whose root moved it by force: what a member's browser takes back, and what it does not. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { makeHome } from "../src/client/moving.ts";
import { type Item, leftToSend } from "../src/client/queued.ts";
import { Room } from "../src/client/room.ts";
import { json } from "../src/client/saved.ts";
import { padded, Tables } from "../src/client/tables.ts";
import { acceptHandover, makeHandover } from "../src/e2e/controls.ts";
import { openVerified, type SignedEvent } from "../src/e2e/events.ts";
import { type MemberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { hashAt } from "../src/e2e/log.ts";
import { makeBoxedRekey } from "../src/e2e/rekeying.ts";
import { b64encode, fromHex, hex } from "../src/protocol/bytes.ts";
import { isControl } from "../src/protocol/records.ts";
import { eventId, peek, signRecord } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import {
  browser,
  deliver,
  edit,
  follow,
  forced,
  garden,
  linkTo,
  moveOf,
  NEW,
  NEW_URL,
  OTHER,
  reaction,
  redact,
  shownIn,
  waitingIn,
} from "./garden.ts";
import { refusal } from "./rooms.ts";
import type { Stage } from "./stage.ts";

/** Said at the old hub alone, by Bo and by Cy; Cy is evicted there in the end. */
function tail({ stage, bo, cy }: ReturnType<typeof garden>, kept: string) {
  const three = stage.say(bo, text("three"));
  stage.say(bo, edit(kept, "one, but void"));
  stage.say(cy, reaction(kept, "🎉"));
  stage.say(bo, reaction(kept, "🌱"));
  stage.say(bo, edit(three.id, "three, in new words"));
  stage.say(bo, reaction(three.id, "👀"));
  stage.say(cy, text("four"));
  stage.post(makeBoxedRekey(stage.making(), [cy.mid]));
  stage.say(bo, text("five"));
  return three;
}

test("what the old hub has behind the place of the move is void, and one's own words are said again", async () => {
  const made = garden();
  const { stage, bo } = made;
  const { room, core } = await browser(stage, bo);
  const one = stage.say(bo, text("one"));
  stage.say(stage.root, reaction(one.id, "👍"));
  const copy = stage.branch();
  const base = copy.end;
  const three = tail(made, one.id);
  await follow(room, stage);
  expect(await shownIn(room)).toEqual(["one, but void", "three, in new words", "four", "five"]);
  expect([room.epoch, room.state.members.size]).toEqual([1, 2]);
  await room.markRead(room.lastSeq);
  await room.send(text("not sent yet"));

  const move = forced(copy);
  const fake = await follow(room, copy, [move]);
  expect(await shownIn(room)).toEqual(["one"]);
  const kept = (await room.history()).find(({ text: words }) => words === "one");
  const reactions = { "👍": [hex(stage.root.mid)] };
  expect(kept).toMatchObject({ edited: false, reactions });
  expect(waitingIn(room)).toEqual([
    "three, in new words",
    "one, but void",
    "🌱",
    "five",
    "not sent yet",
  ]);
  expect(room.waiting()[1]?.content).toMatchObject({ type: "edit" });
  expect([room.epoch, room.state.members.size, room.saved.readUpTo]).toEqual([0, 3, base]);
  expect([...core.view.keys.keys.keys()]).toEqual([0]);
  expect(room.state.moved.at(-1)).toMatchObject({ relayId: NEW, forced: true });
  expect(room.alarms).toEqual([expect.stringMatching(/^eviction_void /)]);
  expect(room.cut).toEqual({ entries: 9, messages: 4, controls: 1, own: 4 });
  const aside = await room.voided();
  expect(aside.map(({ text: words }) => words)).toEqual([
    "three, in new words",
    "one, but void",
    "four",
    "rekey_boxed",
    "five",
  ]);
  await expect.poll(() => fake.of("post")).toHaveLength(1);
  const [posted] = fake.of("post") as Extract<Request, { type: "post" }>[];
  const event = peek(posted?.record as Uint8Array) as SignedEvent;
  expect([hex(event.record.sid), event.record.epoch]).toEqual([three.sid, 0]);
  expect(event.record.counter).toBe(2); // behind "one"
  expect(hex(event.record.prev)).toBe(one.id);
  const { keys } = copy.view(copy.root);
  const { body } = openVerified(keys, event, posted?.cell as Uint8Array, new Set());
  expect(body.voids.map(hex)).toContain(three.id);
});

test("what is said again is void no more, whoever said it; the rest stays aside until it is seen", async () => {
  const made = garden();
  const { stage, bo, cy } = made;
  const { room } = await browser(stage, bo);
  const one = stage.say(bo, text("one"));
  const copy = stage.branch();
  tail(made, one.id);
  const said = stage.say(stage.root, text("six"));
  await follow(room, stage);
  await follow(room, copy, [forced(copy)]);
  copy.post(makeBoxedRekey(copy.making()));
  copy.say(stage.root, text("six"), fromHex(said.sid));
  copy.say(cy, text("I take it"), fromHex(said.sid)); // the same sid, of somebody else
  deliver(room, copy, room.lastSeq + 1);
  await expect.poll(() => room.lastSeq).toBe(copy.end);
  const words = async () => (await room.voided()).map((entry) => entry.text);
  expect(await words()).toEqual([
    "three, in new words",
    "one, but void",
    "four",
    "rekey_boxed",
    "five",
  ]);
  expect(await shownIn(room)).toEqual(["one", "six", "I take it"]);
  await room.forgetVoided();
  expect([await words(), room.cut]).toEqual([[], undefined]);
});

test("what waited is sealed anew, though the number of the epoch is the same", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  stage.post(makeBoxedRekey(stage.making()));
  const old = await follow(room, stage);
  await room.send(text("on its way"));
  await expect.poll(() => old.of("post")).toHaveLength(1);

  old.close();
  const move = forced(copy);
  copy.post(makeBoxedRekey(copy.making()));
  const fake = await follow(room, copy, [move]);
  await expect.poll(() => fake.of("post")).toHaveLength(1);
  const [before, after] = [...old.of("post"), ...fake.of("post")] as Extract<
    Request,
    { type: "post" }
  >[];
  const [first, second] = [before, after].map((one) => peek(one?.record as Uint8Array));
  expect(first?.record).toMatchObject({ epoch: 1, counter: 1 });
  expect(second?.record).toMatchObject({ epoch: 1, counter: 1 });
  expect(after?.cell).not.toEqual(before?.cell);
  const { keys } = copy.view(copy.root);
  const opened = openVerified(keys, second as SignedEvent, after?.cell as Uint8Array, new Set());
  expect(opened.body.content).toMatchObject({ text: "on its way" });
});

test("who deleted something in what is void says so again; its words do not come back", async () => {
  const { stage, bo } = garden();
  const { room, vault } = await browser(stage, bo);
  const one = stage.say(bo, text("one secret"));
  stage.say(bo, edit(one.id, "the same secret"));
  const copy = stage.branch();
  stage.say(bo, edit(one.id, "still a secret"));
  stage.say(bo, redact(one.id));
  const two = stage.say(bo, text("another secret"));
  stage.say(bo, redact(two.id));
  await follow(room, stage);
  await follow(room, copy, [forced(copy)]);
  expect((await room.history()).map(({ kind }) => kind)).toContain("redacted");
  expect(room.waiting().map(({ content }) => content.type)).toEqual(["redact"]);
  const tables = new Tables(room.id);
  for (const table of [tables.archive, tables.log, tables.void]) {
    const rows = await vault.archived(table, { limit: 99 });
    for (const [, raw] of rows) expect(new TextDecoder().decode(raw)).not.toContain("secret");
  }
});

test("who was admitted in what is void is out, and may ask for a new invite", async () => {
  const { stage } = garden();
  const copy = stage.branch();
  const di = stage.admit();
  const { room, vault } = await browser(stage, di);
  stage.say(di, text("hello"));
  await follow(room, stage);
  await room.send(text("hello?"));
  room.detach();
  const fake = linkTo(room, copy, [forced(copy)]);
  await room.attach(fake.link, newMemberKeys().sign.public);
  expect([room.saved.status, room.saved.reason]).toEqual(["removed", "admission_void"]);
  expect([waitingIn(room), fake.of("sync")]).toEqual([["hello", "hello?"], []]);
  // As a new member it says both: what it posted at the old hub stands nowhere.
  const waiting = vault.items(new Tables(room.id).outbox);
  const left = waiting.map(([, raw]) => leftToSend(raw) ?? raw);
  expect(left.map((raw) => json.read<Item>(raw).failed)).toEqual(["", ""]);
});

test("who is at home elsewhere only by a void HOME goes to the new hub; others stay where they are", async () => {
  const { stage, bo } = garden();
  const copy = stage.branch();
  const { room, moved } = await browser(stage, bo, { relayId: OTHER });
  stage.postAlone(makeHome(stage.making(bo), OTHER));
  await follow(room, stage);
  room.detach();
  const fake = linkTo(room, copy, [forced(copy)]);
  moved.mockImplementation(() => room.leaveLink());
  await room.attach(fake.link, newMemberKeys().sign.public);
  expect([room.url, room.relayId]).toEqual([NEW_URL, NEW]);
  expect(moved).toHaveBeenCalledOnce();
  expect(fake.of("sync")).toEqual([]);
});

test("told while all is live, it ends the link, and goes on from the place of the move on the next", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  stage.say(bo, text("void"));
  const fake = await follow(room, stage);
  const move = forced(copy);
  room.receive({ type: "moved", room: room.state.room, records: [move] });
  deliver(room, stage, stage.end); // still on its way
  await expect.poll(() => fake.isClosed).toBe(true);
  await follow(room, copy);
  expect(waitingIn(room)).toEqual(["void"]);
});

test("a copy that is behind takes nothing back, and whoever has the move already neither", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  copy.say(copy.root, text("not here yet"));
  const move = forced(copy);
  await follow(room, copy, [move]);
  expect(await shownIn(room)).toEqual(["not here yet"]);
  await follow(room, copy, [move]);
  expect([room.cut, room.alarms, room.saved.status]).toEqual([undefined, [], "active"]);
});

test.each<[string, boolean, (stage: Stage, bo: MemberKeys, copy: Stage) => Uint8Array[]]>([
  ["by a member", false, (_, bo, copy) => [made(copy, { mid: bo.mid }, bo)]],
  [
    "by a member in root's name",
    false,
    (stage, bo, copy) => [made(copy, { mid: stage.root.mid }, bo)],
  ],
  ["that no log can have", false, (_, __, copy) => [made(copy, { prev: OTHER })]],
  ["of another room", true, (_, __, copy) => [made(copy, { room: OTHER })]],
  ["none", true, () => []],
  ["of another kind", true, (stage) => [stage.log[0]?.[1] as Uint8Array]],
  ["no record", true, () => [new Uint8Array(40)]],
])(
  "what is not root's moves nobody: %s; no relay may tell it: %s",
  async (_, isMalformed, told) => {
    const { stage, bo } = garden();
    const { room } = await browser(stage, bo);
    const copy = stage.branch();
    stage.say(bo, text("three"));
    const fake = await follow(room, stage);
    const records = told(stage, bo, copy);
    room.receive({ type: "moved", room: room.state.room, records });
    await room.send(text("still here"));
    expect(await shownIn(room)).toEqual(["three"]);
    expect(fake.isClosed).toBe(isMalformed);
    expect([room.isLive, room.cut, room.alarms, room.saved.status]).toEqual([
      true,
      undefined,
      [],
      "active",
    ]);
  },
);

/** A move as nobody may make it. */
function made(stage: Stage, changes: object, by = stage.root): Uint8Array {
  const { record } = moveOf(stage);
  return signRecord(by.sign.private, { ...record, ...changes }).envelope;
}

test("who is behind a handover believes no move of who was root before", async () => {
  const { stage, bo, cy } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  const accept = acceptHandover(stage.making(cy)).envelope;
  stage.postAlone(makeHandover(stage.making(), cy.mid, accept));
  const base = stage.end;
  stage.post(makeBoxedRekey(stage.making(cy)));
  await follow(room, stage);
  // Root of before signs over what stands here, handover and all, and over what stood before it.
  const late = made(copy, { seen: { seq: base, log: hashAt(stage.view(bo).log, base) } });
  room.receive({ type: "moved", room: room.state.room, records: [late] });
  await room.send(text("still here"));
  expect([room.lastSeq, room.cut]).toEqual([stage.end, undefined]);
  room.receive({ type: "moved", room: room.state.room, records: [forced(copy)] });
  await room.send(text("here too"));
  expect([room.lastSeq, room.cut, hex(room.state.root)]).toEqual([
    stage.end,
    undefined,
    hex(cy.mid),
  ]);
});

test("root's word over another log than is here freezes the room, as any other fork", async () => {
  const { stage, bo } = garden();
  const { room, vault } = await browser(stage, bo);
  stage.say(bo, text("three"));
  await follow(room, stage);
  const seq = stage.end;
  const move = made(stage.branch(), { seen: { seq, log: OTHER } });
  room.receive({ type: "moved", room: room.state.room, records: [move] });
  await expect.poll(() => room.saved.status).toBe("frozen");
  expect(room.saved.reason).toBe(`log.fork ${seq}`);
  expect(vault.items(`evidence/${room.id}`).map(([, raw]) => raw)).toEqual([move]);
});

test("of two moves of one term the lower id counts, for whoever has the other; and people are told", async () => {
  const { stage, bo } = garden();
  stage.admit(stage.root, OTHER);
  const { room, vault } = await browser(stage, bo);
  const [one, two] = [stage.branch(), stage.branch()];
  const moves = new Map([
    [hex(eventId(peek(forced(one)))), one],
    [hex(eventId(peek(forced(two, OTHER)))), two],
  ]);
  const [lower, higher] = [...moves.keys()].sort().map((id) => moves.get(id) as Stage);
  const [low, high] = [lower, higher].map((its) => its?.log.at(-1)?.[1] as Uint8Array);
  await follow(room, higher as Stage);
  expect(room.alarms).toEqual([]);
  await follow(room, lower as Stage, [low as Uint8Array]);
  expect([room.alarms, hex(room.state.ctl)]).toEqual([["two_moves"], [...moves.keys()].sort()[0]]);
  await room.dismissAlarm("two_moves");
  room.receive({ type: "moved", room: room.state.room, records: [high as Uint8Array] });
  await room.send(text("still here"));
  expect([room.isLive, room.lastSeq, room.alarms]).toEqual([true, (lower as Stage).end, []]);
  // Both are kept: whoever opens the room later can show them to others.
  room.close();
  const again = new Room(vault, room.id, () => undefined);
  const shown = (await again.exported()).split("\n").map((line) => JSON.parse(line));
  const proofs = shown.flatMap(({ evidence }) => evidence ?? []);
  expect(proofs.sort()).toEqual([low, high].map((one) => b64encode(one as Uint8Array)).sort());
});

test("a relay that has yet to hear of the move is waited for, and nothing is sent to it", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  forced(copy);
  await follow(room, copy);
  stage.say(bo, text("as long as the other"));
  const vague = linkTo(room, stage);
  room.detach();
  await room.attach(vague.link, newMemberKeys().sign.public);
  expect([room.saved.status, room.isLive, room.refusal]).toEqual(["active", false, "fork"]);
  expect(vague.of("sync")).toEqual([]);
  stage.say(bo, text("longer"));
  const refusing = linkTo(room, stage, [], ({ type }) =>
    type === "sync" ? refusal("fork") : undefined,
  );
  room.detach();
  await room.attach(refusing.link, newMemberKeys().sign.public);
  expect([room.saved.status, room.isLive, room.refusal]).toEqual(["active", false, "fork"]);
});

test("its own hub's word is no proof either: the room waits, and is not frozen", async () => {
  const { stage, bo } = garden();
  const [copy, other] = [stage.branch(), stage.branch()];
  const { room } = await browser(stage, bo);
  copy.say(copy.root, text("this"));
  other.say(other.root, text("that"));
  await follow(room, copy);
  room.detach();
  await room.attach(linkTo(room, other).link, newMemberKeys().sign.public);
  expect([room.saved.status, room.isLive, room.refusal]).toEqual(["active", false, "fork"]);
});

test("an earlier version's vault asks its relay for the control log, and can take back then", async () => {
  const { stage, bo } = garden();
  const { room, vault } = await browser(stage, bo, { isOld: true });
  const copy = stage.branch();
  stage.say(bo, text("void"));
  const controls = stage.log.filter(([, raw]) => isControl(peek(raw).record));
  await follow(room, stage, [], ({ type }) =>
    type === "chain_get"
      ? {
          type: "chain_page",
          seqs: controls.map(([seq]) => seq),
          records: controls.map(([, raw]) => raw),
          more: false,
        }
      : undefined,
  );
  const { chain } = new Tables(room.id);
  await expect.poll(() => vault.fetch(chain, padded(0))).toBeDefined();
  await follow(room, copy, [forced(copy)]);
  expect([waitingIn(room), room.cut?.entries]).toEqual([["void"], 1]);
});

test("where the control log is not there, the room stops, and says what to do", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo, { isOld: true });
  const copy = stage.branch();
  stage.say(bo, text("void"));
  await follow(room, stage);
  room.detach();
  await room.attach(linkTo(room, copy, [forced(copy)]).link, newMemberKeys().sign.public);
  expect([room.saved.status, room.saved.reason]).toEqual(["frozen", "move_unknown"]);
  expect(await shownIn(room)).toEqual(["void"]);
});

test("what was signed over what is void proves nothing; what was signed over another log behind the move does", async () => {
  const { stage, bo, cy } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  stage.say(bo, text("void"));
  stage.say(cy, text("over what is void"));
  const voidWord = stage.log.at(-1)?.[1] as Uint8Array;
  stage.post(makeBoxedRekey(stage.making()));
  stage.say(cy, text("for a control head that is void"));
  const voidHead = stage.log.at(-1)?.[1] as Uint8Array;
  const move = forced(copy);
  copy.post(makeBoxedRekey(copy.making()));
  const other = copy.branch();
  other.say(other.root, text("that"));
  other.say(cy, text("over another log"));
  copy.say(copy.root, text("this"));
  copy.say(copy.root, text("and that"));
  await follow(room, copy, [move]);
  const shows = (records: Uint8Array[]) =>
    room.receive({
      type: "evidence",
      room: room.state.room,
      code: "fork",
      key: undefined,
      records,
    });

  shows([voidWord, voidHead]);
  await expect.poll(() => room.alarms).toEqual(["unproven"]);
  expect(room.saved.status).toBe("active");
  shows([other.log.at(-1)?.[1] as Uint8Array]);
  await expect.poll(() => room.saved.status).toBe("frozen");
  expect(room.saved.reason).toMatch(/^member_word /);
});

test.each([
  ["what is void stands here", true],
  ["it has nothing of that", false],
])(
  "a move by force thaws a room of two histories, not one of a wrong key: %s",
  async (_, isThere) => {
    for (const [reason, status] of [
      ["two_logs 1", "active"],
      ["join.not_admitted", "frozen"],
    ] as const) {
      const { stage, bo } = garden();
      const { room, core } = await browser(stage, bo);
      const copy = stage.branch();
      stage.say(bo, text("void"));
      if (isThere) await follow(room, stage);
      await core.enqueue(() => core.freeze(reason, 1));
      const move = forced(copy);
      room.detach();
      const fake = linkTo(room, copy, [move]);
      await Promise.race([
        room.attach(fake.link, newMemberKeys().sign.public),
        expect.poll(() => fake.of("sync")).toHaveLength(1),
      ]);
      expect([room.saved.status, fake.of("sync").length]).toEqual([
        status,
        status === "active" ? 1 : 0,
      ]);
      if (status === "frozen") continue;
      // An old proof, shown again, does not undo the move.
      await core.enqueue(() => core.freeze(reason, 1, "equivocation", [OTHER]));
      expect([room.saved.status, room.alarms]).toEqual(["active", [reason]]);
      room.close();
    }
  },
);

test.each([
  [0, true],
  [1, false],
])(
  "a handover that was accepted goes on, unless that came to nothing: %s",
  async (after, isKept) => {
    const { stage, bo } = garden();
    const { room, core } = await browser(stage, stage.root);
    const copy = stage.branch();
    stage.say(bo, text("void"));
    await follow(room, stage);
    const accepted = { mid: hex(bo.mid), accept: "", seq: copy.end + after };
    const { link } = linkTo(room, copy, [forced(copy)]);
    room.detach();
    await core.change((draft) => {
      draft.marks = { ...draft.marks, accepted };
    });
    void room.attach(link, newMemberKeys().sign.public);
    await expect.poll(() => room.cut?.messages).toBe(1);
    expect(core.marks.accepted).toEqual(isKept ? accepted : undefined);
  },
);
