/** What a relay shows against a hub: signatures prove it, or nothing does. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";
import { text } from "../src/client/contents.ts";
import type { RoomCore } from "../src/client/core.ts";
import { EvidenceDesk, keepEvidence } from "../src/client/evidence.ts";
import { verifyChain } from "../src/e2e/chain.ts";
import { makeLeave } from "../src/e2e/controls.ts";
import { judge } from "../src/e2e/evidence.ts";
import { type RoomLog, resumedLog, seenOf } from "../src/e2e/log.ts";
import { fromHex } from "../src/protocol/bytes.ts";
import { type Link, RelayRefused } from "../src/wire/link.ts";
import { refusing } from "./databases.ts";
import { opened } from "./standing.ts";
import { type Vector, vectors } from "./vectors.ts";

const chain = vectors("chain");
const cases = vectors("evidence").cases as Vector[];
const rows = chain.log as Vector[];
const room = fromHex(chain.room);
const state = verifyChain(
  room,
  rows.filter((row) => row.cell === undefined).map((row) => [row.seq, fromHex(row.record)]),
);
const upTo = (end: number): RoomLog => {
  const hashes = rows.slice(0, end + 1).map((row) => fromHex(row.log));
  return resumedLog(room, end, hashes.at(-1) as Uint8Array, hashes, 0);
};
const whole = upTo(rows.length - 1);
const shownIn = (row: Vector) => ({
  key: fromHex(row.key),
  records: (row.records as string[]).map(fromHex),
});

test.each(cases)("$why", (row) => {
  const { key, records } = shownIn(row);
  const found = judge(state, whole, key, records);
  const outcome =
    typeof found === "number"
      ? { later: found }
      : ((found && { ...found, records: undefined, witness: found.witness || null }) ?? null);
  expect(outcome).toEqual(row.found);
  // What shows it is among what was shown, and what it takes no more.
  const proving = typeof found === "object" ? found.records : [];
  expect(records).toEqual(expect.arrayContaining([...proving]));
  expect(proving.length).toBe(row.found?.fault ? (row.found.fault === "equivocation" ? 2 : 1) : 0);
  if (proving.length > 0) expect(judge(state, whole, key, proving)).toEqual(found);
});

/** A room of which only this is asked. */
function desk(log: RoomLog) {
  const told: string[] = [];
  const raised: string[] = [];
  const waits: (() => void)[] = [];
  const core = {
    link: { relayKey: new Uint8Array(45) },
    view: { state, log },
    vault: { get: () => undefined },
    saved: { status: "active" },
    enqueue: (act: () => Promise<void>) => act(),
    freeze: async (reason: string) => void told.push(reason),
    alarms: { raise: (alarm: string) => void raised.push(alarm) },
    later: (act: () => void) => waits.push(act),
    changed: () => undefined,
  };
  const made = new EvidenceDesk(core as unknown as RoomCore, () => "Ana");
  const show = async (row: Vector) => {
    made.shown({ type: "evidence", room, code: "fork", ...shownIn(row) });
    await Promise.resolve();
  };
  return { core, told, raised, waits, made, show };
}

const of = (why: string) => cases.find((row) => row.why === why) as Vector;

test("a proof freezes the room, and says in words who signed what", async () => {
  const { told, raised, show } = desk(whole);
  await show(of("the hub signed two logs"));
  await show(of("a member signed another log"));
  expect(told[0]).toMatch(/^two_logs \d+$/);
  expect(told[1]).toMatch(/^member_word \d+ Ana$/);
  expect(raised).toEqual([]);
});

test("false evidence freezes nothing, and is told", async () => {
  for (const row of cases.filter(({ found }) => found === null)) {
    const { raised, told, show } = desk(whole);
    await show(row);
    expect([told, raised]).toEqual([[], ["unproven"]]);
  }
});

test("what is about an entry to come is judged then, or given up", async () => {
  const early = desk(upTo(3));
  await early.show(of("the hub signed another log than is here"));
  expect([early.told, early.raised]).toEqual([[], []]);
  early.core.view.log = whole;
  early.made.check();
  await Promise.resolve();
  expect(early.told).toHaveLength(1);

  const never = desk(upTo(3));
  await never.show(of("the hub signed another log than is here"));
  for (const wait of never.waits) wait();
  expect([never.told, never.raised]).toEqual([[], ["unproven"]]);
});

test.each([
  ["evidence", "two_logs"],
  ["head", "log.fork"],
  ["removed", "left"],
] as const)(
  "a proof by %s that can not be kept is told of, and counts on the next link",
  async (type, reason) => {
    // The database refuses what the room does in a while of its own accord, too.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const { room, view } = await opened();
    const { core } = room as unknown as { core: RoomCore };
    const { key, records } = shownIn(
      of(type === "head" ? "the hub signed another log than is here" : "the hub signed two logs"),
    );
    const record = records[0] as Uint8Array;
    const alone = new Map([...view.state.members].filter(([mid]) => mid === room.me));
    const making = { ...view, state: { ...view.state, members: alone } };
    const { envelope } = makeLeave({ ...making, seen: seenOf(view.log), now: 1 });
    const frames = {
      evidence: { type: "evidence", room: state.room, code: "fork", key, records },
      head: { type: "head", room: state.room, key, record },
      removed: { type: "removed", room: state.room, code: "left", record: envelope },
    } as const;
    core.view = { ...core.view, log: whole };
    const closed = vi.fn();
    core.link = { ...core.link, close: closed } as unknown as Link;
    const restore = refusing("UnknownError", (mode) => mode === "readwrite");
    onTestFinished(restore);
    const hear = () => {
      room.receive(frames[type]);
      return core.enqueue(async () => undefined); // behind it
    };
    await hear();
    restore();
    expect(room.alarms).toEqual(["vault.not_written"]);
    expect([room.saved.status, closed.mock.calls.length]).toEqual(["active", 1]);
    await hear();
    expect(room.saved.status).not.toBe("active");
    expect(room.saved.reason).toContain(reason);
  },
);

test("what a relay shows beside a proof, or makes up, takes no place of the proof's", async () => {
  const { room, view } = await opened();
  const { core } = room as unknown as { core: RoomCore };
  core.view = { ...core.view, log: whole };
  const junk = Array.from({ length: 70 }, (_, at) => new Uint8Array(40).fill(at));
  await core.change(({ turn }) => void keepEvidence(turn, core.tables, junk, "junk"));
  const { key, records } = shownIn(of("the hub signed two logs"));
  const shown = [...junk, ...records, ...junk];
  room.receive({ type: "evidence", room: view.state.room, code: "fork", key, records: shown });
  await expect.poll(() => room.saved.status).toBe("frozen");
  const kept = core.vault.items(core.tables.evidence).map(([, raw]) => raw);
  expect(kept).toHaveLength(8 + records.length);
  expect(kept).toEqual(expect.arrayContaining(records));
  // What was taken for less before is kept once, and one kind does not fill up another.
  const more = junk.slice(40);
  const keeps = (envelopes: Uint8Array[], shows: Parameters<typeof keepEvidence>[3]) =>
    core.change(({ turn }) => void keepEvidence(turn, core.tables, envelopes, shows));
  await keeps([junk[0] as Uint8Array, ...more], "offence");
  await keeps([records[0] as Uint8Array, junk[0] as Uint8Array], "junk");
  expect(core.vault.items(core.tables.evidence)).toHaveLength(7 + 1 + more.length + records.length);
});

test("the relay's word alone freezes nothing: what was said waits", async () => {
  const refused = { code: "fork", text: "a fork", retry_after: undefined };
  const { room } = await opened(async ({ type }) => {
    if (type === "post") throw new RelayRefused({ type: "failure", rid: 1, ...refused } as never);
    return { type: "done" };
  });
  await room.send(text("is it so?"));
  await expect.poll(() => room.refusal).toBe("fork");
  expect([room.saved.status, room.alarms]).toEqual(["active", []]);
  expect(room.waiting().map(({ failed }) => failed)).toEqual([""]);
  room.close();
});
