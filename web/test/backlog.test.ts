/** Much at once: the page goes on beside it, and no relay decides how much memory it takes. */

import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { following } from "./following.ts";

/** So many messages of Ana's, as they would be delivered. */
function backlog(
  { say, append, ana, state }: Awaited<ReturnType<typeof following>>,
  count: number,
) {
  return Array.from({ length: count }, (_, at) => {
    const { record, cell } = say(ana, text(`message ${at}`));
    append(record, cell);
    return { type: "delivery", room: state.room, seq: at + 2, record, cell } as const;
  });
}

test("a long backlog is taken in some at a time, and other things happen in between", async () => {
  const setting = await following();
  const { room, settle } = setting;
  const frames = backlog(setting, 300);
  const steps: number[] = [];
  const watch = () => {
    steps.push(room.lastSeq);
    if (room.lastSeq < 301) setTimeout(watch);
  };
  watch();
  for (const frame of frames) room.receive(frame);
  await settle();
  expect(room.lastSeq).toBe(301);
  const most = Math.max(...steps.slice(1).map((seq, at) => seq - (steps[at] as number)));
  expect(most).toBeLessThanOrEqual(100);
});

test("what is more than may wait is left to the next link, which goes on from there", async () => {
  const setting = await following();
  const { room, link, settle, attach } = setting;
  const frames = backlog(setting, 40);
  const large = new Uint8Array(2 ** 20); // the relay may deliver any cell
  for (const frame of frames) room.receive({ ...frame, cell: large });
  await settle();
  expect(link.isClosed).toBe(true);
  const reached = room.lastSeq;
  expect(reached).toBeGreaterThan(30);
  expect(reached).toBeLessThan(36);
  room.detach();
  const attached = attach();
  await settle();
  for (const frame of frames.slice(reached - 1)) room.receive(frame);
  await attached;
  expect([room.lastSeq, room.alarms]).toEqual([41, []]);
});

test("a link that is lost takes what it brought and nobody looked at along", async () => {
  const setting = await following();
  const { room, core, settle, attach } = setting;
  const frames = backlog(setting, 80);
  for (const frame of frames) room.receive(frame);
  await core.until(() => room.lastSeq > 1);
  const [reached, queued] = [room.lastSeq, frames.slice(70)];
  room.detach();
  const attached = attach();
  for (const frame of queued) room.receive(frame); // before the new link's sync: of no use
  await settle();
  expect(room.lastSeq).toBe(reached);
  expect(room.alarms).toEqual(["log.gap 72"]);
  void attached.catch(() => undefined);
});
