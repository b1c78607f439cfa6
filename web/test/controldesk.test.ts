/** Control records that a relay refuses: the codes are Python's (ofcd/client/controls.py). */

import "fake-indexeddb/auto";
import { readFileSync } from "node:fs";
import { expect, onTestFinished, test, vi } from "vitest";

import { ControlDesk } from "../src/client/controldesk.ts";
import { RoomCore } from "../src/client/core.ts";
import { Room } from "../src/client/room.ts";
import { makeLeave } from "../src/e2e/controls.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { makeRekey } from "../src/e2e/rekeying.ts";
import { peek } from "../src/themis/index.ts";
import { RelayRefused } from "../src/wire/link.ts";
import { FakeLink, founded, refusal } from "./rooms.ts";

const PYTHON = readFileSync(new URL("../../ofcd/client/controls.py", import.meta.url), "utf-8");

/** The codes of one of Python's sets. */
function codesOf(set: string): string[] {
  const [, inside = ""] =
    PYTHON.match(new RegExp(`^${set}: Final = frozenset\\(([^)]*)\\)`, "m")) ?? [];
  return [...inside.matchAll(/Code\.([A-Z_]+)/g)].map(([, name]) => (name as string).toLowerCase());
}

/** What becomes of a change that a relay refuses so, within seconds. */
async function refused(code: string, isLeft = false): Promise<string> {
  const { vault, id, view } = await founded();
  const room = new Room(vault, id, () => undefined);
  onTestFinished(() => room.close());
  const { log } = view.log;
  const fake = new FakeLink(({ type }) => {
    if (type === "attach") return { type: "attached", seq: 1, log, cursor: 0, counter: 0 };
    if (type === "sync") return { type: "synced", start: 2, floor: 0, head: 1, log };
    if (type !== "control") return { type: "done" };
    if (isLeft) room.leaveLink();
    return refusal(code);
  });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  await room.attach(fake.link, newMemberKeys().sign.public);
  let outcome = "";
  const [inviteId] = view.state.invites.keys();
  room.closeInvite(inviteId as string).catch((error) => {
    outcome ||= `rejected: ${error.code}`;
  });
  await expect.poll(() => fake.of("control")).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(2_000);
  const asked = fake.of("control").length;
  if (outcome === "" && fake.isClosed) outcome = "relinked";
  return outcome || (asked > 1 ? "later" : "awaits the log");
}

test.each([
  ["_AGAIN", "awaits the log"],
  ["_LATER", "later"],
  ["_NOT_HERE", "relinked"],
])("what Python has in %s %s", async (set, outcome) => {
  const codes = codesOf(set);
  expect(codes.length).toBeGreaterThan(1);
  for (const code of codes) expect([code, await refused(code)]).toEqual([code, outcome]);
});

test.each(["forbidden", "bad_record", "quota", "too_large"])("%s is the end", async (code) => {
  const sets = ["_AGAIN", "_LATER", "_NOT_HERE"].flatMap(codesOf);
  expect(sets).not.toContain(code);
  expect(await refused(code)).toBe(`rejected: ${code}`);
});

test.each(["forbidden", "not_attached"])(
  "%s of a relay that was left is no answer",
  async (code) => {
    expect(await refused(code, true)).toBe("awaits the log");
  },
);

/** A change that gives way, at a relay that answers it by `code`; another one is asked for meanwhile. */
async function puttingOff(code: string) {
  const { vault, id, view } = await founded();
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  const asked: string[] = [];
  const fake = new FakeLink((request) => {
    if (request.type !== "control") return { type: "done" };
    const { type } = peek(request.record).record;
    asked.push(type);
    return type === "rekey" ? refusal(code) : { type: "done" };
  });
  core.link = fake.link;
  core.isLive = true;
  const desk = new ControlDesk(core);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  let outcome = "";
  const gives = desk.runPatiently("move", () => makeRekey(desk.making, view.keys));
  void gives.catch((error: Error) => {
    outcome = error instanceof RelayRefused ? error.code : error.name;
  });
  await vi.advanceTimersByTimeAsync(0);
  const other = () => ({ signed: makeLeave(desk.making), boxes: [] });
  return { core, asked, desk, other, outcome: () => outcome };
}

test.each(["try_again", "hub_away", "seen_stale", "not_found"])(
  "what gives way is put off by %s some times, nothing waits for it, and then it is given up",
  async (code) => {
    const { asked, desk, other, outcome } = await puttingOff(code);
    await desk.run("other", other);
    expect([asked, outcome()]).toEqual([["rekey", "leave"], ""]);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(asked.filter((type) => type === "rekey")).toHaveLength(8);
    expect(outcome()).toBe(code);
  },
);

test("what gives way is over at once where it is refused for good, or the room ends", async () => {
  const refused = await puttingOff("forbidden");
  expect([refused.asked, refused.outcome()]).toEqual([["rekey"], "forbidden"]);
  vi.useRealTimers();
  const closed = await puttingOff("try_again");
  closed.core.close();
  await vi.advanceTimersByTimeAsync(600_000);
  expect([closed.asked, closed.outcome()]).toEqual([["rekey"], "RoomOver"]);
});
