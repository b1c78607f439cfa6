/** Root moves the room with the consent of its relay: what that, and the way there, may answer. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { Room } from "../src/client/room.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { hubOf } from "../src/protocol/room.ts";
import { peek } from "../src/themis/index.ts";
import { LinkLost, type Request } from "../src/wire/link.ts";
import { browser, deliver, garden, linkTo, NEW, NEW_URL } from "./garden.ts";
import { passes, RELAY_ID, refusal } from "./rooms.ts";
import type { Stage } from "./stage.ts";

const THERE = { url: NEW_URL, relayId: NEW };
type Control = Extract<Request, { type: "control" }>;
type Answer = (control: Control) => object | undefined;

/** The relay takes it, and delivers it to whoever is there. */
function takes(room: Room, stage: Stage, { record, boxes }: Control): object {
  const signed = peek(record) as Parameters<Stage["postAlone"]>[0];
  stage.post({ signed, boxes });
  const seq = stage.end;
  queueMicrotask(() => deliver(room, stage, seq));
  return { type: "ack", seq, log: stage.hash };
}

/** Root's browser at the relay so far, which answers its moves so, in turn; then it takes one. */
async function rooted(answers: readonly Answer[]) {
  const { stage } = garden();
  const { room, vault, core } = await browser(stage, stage.root);
  const sent: Control[] = [];
  const attach = async (its = room) => {
    its.detach();
    const fake = linkTo(its, stage, [], (request) => {
      if (request.type !== "control") return undefined;
      if (peek(request.record).record.type !== "hub_move") return undefined;
      sent.push(request);
      const answer = answers[sent.length - 1];
      return answer === undefined ? takes(its, stage, request) : answer(request);
    });
    void its.attach(fake.link, newMemberKeys().sign.public);
    await expect.poll(() => fake.of("sync")).toHaveLength(1);
    deliver(its, stage, its.lastSeq + 1);
    await expect.poll(() => its.isLive).toBe(true);
    return fake;
  };
  await attach();
  return { stage, room, vault, core, sent, attach };
}

async function inTime<T>(act: Promise<T>): Promise<T> {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  onTestFinished(() => void vi.useRealTimers());
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  act.then(over, over);
  for (let times = 0; !isOver && times < 400; times += 1) await passes(5_000, 5_000);
  return act;
}

const answer = (code: string) => () => refusal(code);

test.each(["fork", "hub_behind", "forbidden", "quota"])(
  "%s is told at once, and nothing is tried again",
  async (code) => {
    const { room, sent } = await rooted([answer(code)]);
    await expect(room.moveHub(THERE)).rejects.toMatchObject({ code });
    expect([sent.length, room.saved.status, hubOf(room.state)]).toEqual([1, "active", RELAY_ID]);
  },
);

test.each(["seen_stale", "conflict", "try_again", "hub_away", "wrong_relay"])(
  "after %s it is made anew, and then it is there",
  async (code) => {
    const { room, sent } = await rooted([answer(code), answer(code)]);
    await inTime(room.moveHub(THERE));
    expect([sent.length, hubOf(room.state), room.alarms]).toEqual([3, NEW, []]);
  },
);

test("what never becomes possible is given up, and said by its last refusal", async () => {
  const { room, sent } = await rooted(Array.from({ length: 99 }, () => answer("try_again")));
  await expect(inTime(room.moveHub(THERE))).rejects.toMatchObject({ code: "try_again" });
  expect([sent.length, hubOf(room.state)]).toEqual([8, RELAY_ID]);
});

test.each([
  ["it stands", true, 1],
  ["it does not stand", false, 2],
])("the link breaks before the answer: %s", async (_, stands, times) => {
  const { stage, room, sent, attach } = await rooted([
    (control) => {
      if (stands) takes(room, stage, control);
      (room as unknown as { core: { link: { close(): void } } }).core.link.close();
      return new LinkLost("gone");
    },
  ]);
  const moving = room.moveHub(THERE);
  await expect.poll(() => sent).toHaveLength(1);
  await attach();
  await moving;
  expect([sent.length, hubOf(room.state)]).toEqual([times, NEW]);
});

test.each([true, false])("the page is closed before the answer; it stands: %s", async (stands) => {
  const { stage, room, vault, sent, attach } = await rooted([
    (control) => {
      if (stands) takes(room, stage, control);
      room.close();
      return new LinkLost("gone");
    },
  ]);
  await expect(room.moveHub(THERE)).rejects.toThrow();
  const again = new Room(vault, room.id, () => undefined);
  onTestFinished(() => again.close());
  await attach(again);
  await expect.poll(() => again.lastSeq).toBe(stage.end);
  expect([sent.length, hubOf(again.state)]).toEqual([1, stands ? NEW : RELAY_ID]);
  if (!stands) await again.moveHub(THERE); // its person asks for it again
  expect(hubOf(again.state)).toEqual(NEW);
});

test("its term is kept before it is sent", async () => {
  const kept: number[] = [];
  const { room, core } = await rooted([() => void kept.push(core.marks.signedTerm)]);
  void room.moveHub(THERE).catch(() => undefined);
  await expect.poll(() => kept).toEqual([1]);
});
