/** What a relay says it has done is held against the log, also after a reload. */

import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { keepVouched } from "../src/client/tables.ts";
import { Turn } from "../src/client/vault.ts";
import { hex } from "../src/protocol/bytes.ts";
import { eventId, peek } from "../src/themis/index.ts";
import { following } from "./following.ts";

const other = new Uint8Array(32).fill(9);

test.each([false, true])(
  "what an ACK vouched for is checked once it is here (after a reload: %s)",
  async (isReloaded) => {
    const posted: { record: Uint8Array; cell: Uint8Array }[] = [];
    const setting = await following({
      answer: (request) => {
        if (request.type !== "post") return undefined;
        posted.push(request as (typeof posted)[0]);
        return { type: "ack", event_id: eventId(peek(request.record)), seq: 2, log: other };
      },
    });
    const { again, append, vault, room } = setting;
    await room.send(text("hello"));
    await expect.poll(() => vault.get(`room/${room.id}`, "checkpoint")).toBeDefined();
    const [{ record, cell }] = posted as [(typeof posted)[0]];
    append(record, cell);
    if (isReloaded) room.close();
    const { room: now, deliver } = isReloaded ? await again(false) : setting;
    await expect.poll(() => now.saved.status).toBe("active");
    await deliver(record, cell);
    expect([now.saved.status, now.isLive, now.refusal]).toEqual(["active", false, "fork"]);
    expect(now.lastSeq).toBe(1); // nothing else of that log is taken
  },
);

test("a relay whose log ends before what my admitter saw is behind, also after a reload", async () => {
  const { vault, room, again } = await following();
  room.close();
  const turn = new Turn(vault);
  keepVouched(turn, room.id, { seq: 5, log: other });
  await vault.commit(turn);
  const { room: opened } = await again();
  expect([opened.isLive, opened.refusal]).toEqual([false, "relay_behind"]);
});

test("an ACK for what is here already is checked at once", async () => {
  const { core, room, say, ana, append, deliver } = await following();
  const { record, cell } = say(ana);
  append(record, cell);
  await deliver(record, cell);
  await core.vouch(2, core.view.log.log);
  expect(room.refusal).toBe("");
  await core.vouch(2, other);
  expect([room.saved.status, room.isLive, room.refusal]).toEqual(["active", false, "fork"]);
});

test("a log that is not the one that my admitter has signed for is another one: the room is frozen", async () => {
  const { vault, room, say, ana, append, deliver } = await following();
  const turn = new Turn(vault);
  keepVouched(turn, room.id, { seq: 2, log: other }, true);
  await vault.commit(turn);
  const { record, cell } = say(ana);
  append(record, cell);
  await deliver(record, cell);
  expect([room.saved.status, room.saved.reason]).toEqual(["frozen", "log.fork 2"]);
});

test("a change counts as done once it is in the log; a relay that passes it over loses its link", async () => {
  let seq = 0;
  const setting = await following({
    who: "ana",
    answer: (request) => {
      if (request.type !== "control") return undefined;
      return { type: "ack", event_id: eventId(peek(request.record)), seq, log: other };
    },
  });
  const { room, link, bo, append } = setting;
  let isDone = false;
  const evicted = room.evict(hex(bo.mid)).then(() => {
    isDone = true;
  });
  await expect.poll(() => link.isClosed).toBe(true);
  expect([isDone, room.state.members.has(hex(bo.mid))]).toEqual([false, true]);
  seq = 2;
  room.detach();
  link.isClosed = false;
  await setting.attach();
  await expect.poll(() => link.of("control").length).toBe(2);
  const [, { record }] = link.of("control") as unknown as { record: Uint8Array }[] as [
    unknown,
    { record: Uint8Array },
  ];
  append(record);
  await setting.deliver(record);
  await evicted;
  expect(room.state.members.has(hex(bo.mid))).toBe(false);
});
