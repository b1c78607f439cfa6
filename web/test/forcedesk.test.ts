/** A move by force that was signed: what its relay answers, and what comes between. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { text } from "../src/client/contents.ts";
import type { Place } from "../src/client/moving.ts";
import { Room } from "../src/client/room.ts";
import { loadMarks, loadView } from "../src/client/tables.ts";
import type { Vault } from "../src/client/vault.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { hubOf } from "../src/protocol/room.ts";
import { peek } from "../src/themis/index.ts";
import { LinkLost, type Request } from "../src/wire/link.ts";
import { browser, deliver, garden, linkTo, NEW, NEW_URL, OTHER } from "./garden.ts";
import { passes, RELAY_ID, refusal, URL_ } from "./rooms.ts";
import type { Stage } from "./stage.ts";

const THERE: Place = { url: NEW_URL, relayId: NEW };
type Control = Extract<Request, { type: "control" }>;

/** The new hub takes what it has not yet; it has the key boxes of what comes next, too. */
function takes(copy: Stage, { record, boxes }: Control): object {
  const signed = peek(record) as Parameters<Stage["postAlone"]>[0];
  const isThere = copy.log.some(([, one]) => one === record);
  if (!isThere) copy.post({ signed, boxes });
  return { type: "ack", seq: copy.end, log: copy.hash };
}

/** What that relay answers to each move that it is sent, in turn; then it takes it. */
type Answers = readonly ((control: Control) => object | undefined)[];

/** Root's browser, whose room is to go on from `copy`. Links there come as often as they go. */
async function rooted(copy: Stage, stage: Stage, answers: Answers = []) {
  const { room, vault, core, moved } = await browser(stage, stage.root);
  const sent: Control[] = [];
  const reach = (its: Room) => reaching(its, copy, sent, answers);
  moved.mockImplementation(reach(room));
  return { room, vault, core, sent, reach };
}

function reaching(room: Room, copy: Stage, sent: Control[], answers: Answers) {
  const open = () => {
    room.leaveLink();
    if (room.url !== NEW_URL || room.saved.status !== "active") return; // the old relay is gone
    const moves = () => copy.log.filter(([, raw]) => peek(raw).record.type === "hub_move");
    const fake = linkTo(
      room,
      copy,
      moves().map(([, raw]) => raw),
      (request) => {
        // It delivers what was asked for, and each entry that it takes: no poll has to come in between.
        if (request.type === "sync") queueMicrotask(() => deliver(room, copy, request.start));
        if (request.type !== "control") return undefined;
        if (peek(request.record).record.type !== "hub_move") return undefined;
        sent.push(request);
        const answer = answers[sent.length - 1];
        if (answer !== undefined) return answer(request);
        queueMicrotask(() => deliver(room, copy, copy.end));
        return takes(copy, request);
      },
    );
    void room.attach(fake.link, newMemberKeys().sign.public);
    void fake.closed.then(open);
    return fake;
  };
  return open;
}

const termOf = ({ record }: Control) => (peek(record).record as RecordOf<"hub_move">).term;
const places = (room: Room) => [room.url, room.relayId];

function hurried() {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  onTestFinished(() => void vi.useRealTimers());
}

/** What comes of it while fake time goes by; what the room has to do in a second is done within it. */
async function inTime<T>(room: Room, act: Promise<T>): Promise<T> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  act.then(over, over);
  for (let seconds = 0; !isOver && seconds < 300; seconds += 1) {
    await passes(1_000);
    await room.goOnAfter(Promise.resolve());
  }
  return act;
}

test.each([
  ["seen_stale", "copy_changed"],
  ["hub_behind", "copy_changed"],
  ["conflict", "copy_changed"],
  ["fork", "other_log"],
  ["wrong_relay", "other_meant"],
  ["forbidden", "not_taken"],
  ["quota", "moved_often"],
])("refused with %s it is over, and root is back where it was: %s", async (code, fault) => {
  const { stage } = garden();
  const { room, sent, core } = await rooted(stage.branch(), stage, [() => refusal(code)]);
  const found = await room.surveyHub(THERE);
  await expect(room.forceHub(found)).rejects.toMatchObject({ fault });
  expect([...places(room), sent.length]).toEqual([URL_, RELAY_ID, 1]);
  expect([core.marks.forcing, core.marks.visiting, room.saved.status]).toEqual([
    undefined,
    undefined,
    "active",
  ]);
});

test("what no rule speaks of is told as it was refused", async () => {
  const { stage } = garden();
  const { room } = await rooted(stage.branch(), stage, [() => refusal("too_large")]);
  await expect(room.forceHub(await room.surveyHub(THERE))).rejects.toMatchObject({
    code: "too_large",
  });
  expect(places(room)).toEqual([URL_, RELAY_ID]);
});

test("a relay that is still level with nothing is asked again, and then it takes it", async () => {
  const { stage } = garden();
  const busy = () => refusal("try_again");
  const { room, sent } = await rooted(stage.branch(), stage, [busy, busy]);
  const found = await room.surveyHub(THERE);
  hurried();
  vi.spyOn(room, "moveHome").mockResolvedValue();
  await inTime(room, room.forceHub(found));
  expect(new Set(sent.map(({ record }) => record.join())).size).toBe(1); // signed once
  expect([sent.length, hubOf(room.state)]).toEqual([3, NEW]);
});

test("one that is so for too long is given up, and said to be so", async () => {
  const { stage } = garden();
  const answers = Array.from({ length: 99 }, () => () => refusal("try_again"));
  const { room } = await rooted(stage.branch(), stage, answers);
  const found = await room.surveyHub(THERE);
  hurried();
  await expect(inTime(room, room.forceHub(found))).rejects.toMatchObject({ fault: "copy_busy" });
  expect([...places(room), room.alarms]).toEqual([URL_, RELAY_ID, []]);
});

test.each([
  ["it has it", (copy: Stage, it: Control) => void takes(copy, it), 1],
  ["it has it not", () => undefined, 2],
])("the link breaks before the answer: %s", async (_, meanwhile, times) => {
  const { stage, bo } = garden();
  const copy = stage.branch();
  const { room, sent, reach } = await rooted(copy, stage, [
    (control) => {
      meanwhile(copy, control);
      (room as unknown as { core: { link: { close(): void } } }).core.link.close();
      return new LinkLost("gone");
    },
  ]);
  stage.say(bo, text("void"));
  expect(reach).toBeDefined();
  const found = await room.surveyHub(THERE);
  vi.spyOn(room, "moveHome").mockResolvedValue();
  await room.forceHub(found);
  expect([sent.length, hubOf(room.state), room.url]).toEqual([times, NEW, NEW_URL]);
  expect(new Set(sent.map(termOf))).toEqual(new Set([1]));
});

/** The page is opened again, as a client does it. */
async function reopened(vault: Vault, id: string, reach: (room: Room) => () => unknown) {
  const room = new Room(vault, id, () => undefined, { moved: () => void open() });
  const open = reach(room);
  onTestFinished(() => room.close());
  await room.settleHome();
  open();
  return room;
}

test.each([
  ["it has it", (copy: Stage, it: Control) => void takes(copy, it), 1],
  ["it has it not", () => undefined, 2],
])(
  "the page is closed before the answer: %s; it goes on when it is opened",
  async (_, meanwhile, times) => {
    const { stage } = garden();
    const copy = stage.branch();
    const { room, vault, sent, reach } = await rooted(copy, stage, [
      (control) => {
        meanwhile(copy, control);
        room.close();
        return new LinkLost("gone");
      },
    ]);
    await expect(room.forceHub(await room.surveyHub(THERE))).rejects.toThrow("can not be used");
    const again = await reopened(vault, room.id, reach);
    await expect.poll(() => [again.isLive, hubOf(again.state)]).toEqual([true, NEW]);
    expect([sent.length, again.url]).toEqual([times, NEW_URL]);
    expect(loadMarks(vault, room.id, loadView(vault, room.id)).forcing).toBeUndefined();
  },
);

test("refused only once the page is open again, its person hears of it, and is back", async () => {
  const { stage } = garden();
  const copy = stage.branch();
  const { room, vault, reach } = await rooted(copy, stage, [
    () => {
      room.close();
      return new LinkLost("gone");
    },
    () => refusal("seen_stale"),
  ]);
  await expect(room.forceHub(await room.surveyHub(THERE))).rejects.toThrow("can not be used");
  const again = await reopened(vault, room.id, reach);
  await expect.poll(() => places(again)).toEqual([URL_, RELAY_ID]);
  expect(again.alarms).toEqual(["move_failed move.copy_changed"]);
});

test("a page that is closed while a copy is looked at opens where the room was", async () => {
  const { stage } = garden();
  const { room, vault, core } = await rooted(stage.branch(), stage);
  const looking = room.tryAt(THERE, async () => {
    room.close();
    throw new Error("closed");
  });
  await expect(looking).rejects.toThrow();
  expect(core.saved.url).toBe(NEW_URL);
  const again = await reopened(vault, room.id, () => () => undefined);
  expect(places(again)).toEqual([URL_, RELAY_ID]);
});

test("no term is signed twice, whatever became of it: it is kept before the record is sent", async () => {
  const { stage } = garden();
  const refusing = () => refusal("seen_stale");
  const { room, vault, sent, reach } = await rooted(stage.branch(), stage, [refusing, refusing]);
  const kept: number[] = [];
  const note = () => kept.push(loadMarks(vault, room.id, loadView(vault, room.id)).signedTerm);
  const commit = vault.commit.bind(vault);
  vi.spyOn(vault, "commit").mockImplementation(async (turn) => {
    const before = sent.length;
    await commit(turn);
    if (sent.length === before) note();
  });
  await room.forceHub(await room.surveyHub(THERE)).catch(() => undefined);
  room.close();
  const again = await reopened(vault, room.id, reach);
  await again.forceHub(await again.surveyHub(THERE)).catch(() => undefined);
  expect(sent.map(termOf)).toEqual([1, 2]);
  expect(kept).toEqual(expect.arrayContaining([1, 2]));
});

test("another tab that has taken the vault signs higher; this one sends nothing any more", async () => {
  const { stage } = garden();
  const { room, vault, sent, core } = await rooted(stage.branch(), stage, [() => refusal("fork")]);
  const found = await room.surveyHub(THERE);
  const { VaultLocked } = await import("../src/client/vault.ts");
  vi.spyOn(vault, "commit").mockRejectedValue(new VaultLocked());
  await expect(room.forceHub(found)).rejects.toThrow();
  expect([sent, core.isOver, core.marks.signedTerm]).toEqual([[], true, 0]);
});

test("the term is more than that of a move which was told, and has yet to come", async () => {
  const { stage } = garden();
  stage.admit(stage.root, OTHER);
  const { room, core, sent } = await rooted(stage.branch(), stage, [() => refusal("fork")]);
  await core.change((draft) => {
    draft.marks = { ...draft.marks, signedTerm: 6 };
  });
  await room.forceHub(await room.surveyHub(THERE)).catch(() => undefined);
  expect(sent.map(termOf)).toEqual([7]);
});

test("behind a move by force that was signed, and may stand somewhere, none without it is made", async () => {
  const { stage } = garden();
  const { room } = await rooted(stage.branch(), stage, [() => refusal("fork")]);
  await room.forceHub(await room.surveyHub(THERE)).catch(() => undefined);
  const fake = linkTo(room, stage);
  await room.attach(fake.link, newMemberKeys().sign.public);
  await expect(room.moveHub(THERE)).rejects.toMatchObject({ fault: "term_signed" });
  expect(fake.of("control")).toEqual([]);
});
