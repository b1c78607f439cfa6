/** A room that is offered: whoever accepts it may say anything. */

import { expect, onTestFinished, test, vi } from "vitest";

import { mark, type RoomCore } from "../src/client/core.ts";
import { acceptHandover } from "../src/e2e/controls.ts";
import { sealEvent } from "../src/e2e/events.ts";
import { nextOf, seenOf } from "../src/e2e/log.ts";
import { hex } from "../src/protocol/bytes.ts";
import { randomBytes } from "../src/themis/index.ts";
import { following } from "./following.ts";
import { opened } from "./standing.ts";

test("an acceptance that does not hold hands nothing over, and breaks nothing", async () => {
  const lost = vi.fn();
  process.on("unhandledRejection", lost);
  onTestFinished(() => void process.off("unhandledRejection", lost));
  const { room, theirs } = await opened();
  const { core } = room as unknown as { core: RoomCore };
  await core.change((draft) => mark(draft, { offeredTo: hex(theirs.mid) }));
  const { state, keys, log, senders } = core.view;
  const { counter, prev } = nextOf(senders, state.room, theirs.mid);
  const content = { type: "handover_accept" as const, accept: Uint8Array.of(1, 2, 3) };
  const said = { content, sid: randomBytes(16), counter, prev, ts: 5, name: "Bo", voids: [] };
  const { signed, cell } = sealEvent(state, theirs, keys, said, seenOf(log));
  const seq = log.seq + 1;
  room.receive({ type: "delivery", room: state.room, seq, record: signed.envelope, cell });
  await room.markRead(seq);
  expect(core.marks.offeredTo).toBe(""); // it was heard
  await new Promise((resolve) => setImmediate(resolve));
  expect(hex(room.state.root)).toBe(room.me);
  expect(lost).not.toHaveBeenCalled();
});

test("an acceptance outlives the page that should hand the room over", async () => {
  const controls: Uint8Array[] = [];
  const setting = await following({
    who: "ana",
    answer: (request) => {
      if (request.type === "control") controls.push(request.record);
      return undefined;
    },
  });
  const { room, core, again, append, say, bo, deliver, making } = setting;
  await room.offerHandover(hex(bo.mid));
  const { envelope: accept } = acceptHandover({ ...making, mine: bo });
  const { record, cell } = say(bo, { type: "handover_accept", accept });
  append(record, cell);
  await deliver(record, cell);
  await expect.poll(() => controls.length).toBe(1);
  room.close();
  expect(core.marks.offeredTo).toBe("");
  const next = await again();
  await expect.poll(() => controls.length).toBe(2);
  const [, handover] = controls as [Uint8Array, Uint8Array];
  append(handover);
  await next.deliver(handover);
  expect(hex(next.room.state.root)).toBe(hex(bo.mid));
  await expect.poll(() => next.core.marks.accepted).toBeUndefined();
});
