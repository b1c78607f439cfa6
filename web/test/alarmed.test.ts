/** What must alarm a member does, and is there after a reload, with what proves it. */

import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { makeBoxedRekey, makeKeyAnswer } from "../src/e2e/rekeying.ts";
import { hex } from "../src/protocol/bytes.ts";
import { sha256 } from "../src/protocol/ids.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { peek, signRecord } from "../src/themis/index.ts";
import { evidenceIn, following } from "./following.ts";

/** A renewal in which Ana boxes another key for Bo than she commits to. */
function twoKeys({ making, bo, ana }: Awaited<ReturnType<typeof following>>) {
  const made = makeBoxedRekey(making);
  const other = makeBoxedRekey(making);
  const record = made.signed.record as RecordOf<"rekey_boxed">;
  const at = record.boxes.findIndex(([mid]) => hex(mid) === hex(bo.mid));
  const box = other.boxes[at] as Uint8Array;
  const boxes = record.boxes.map(([mid, hash], here) =>
    here === at ? ([mid, sha256(box)] as const) : ([mid, hash] as const),
  );
  const signed = signRecord(ana.sign.private, { ...record, boxes });
  return { box, record: signed.envelope };
}

test("a key that is not the one its owner commits to is not taken, and told, with the record", async () => {
  const setting = await following();
  const { room, hear, deliver, vault, again } = setting;
  const { box, record } = twoKeys(setting);
  await hear({ type: "box", seq: 2, box });
  await deliver(record, undefined, 2);
  expect(room.alarms).toEqual(["key_rejected"]);
  expect([room.saved.status, room.epoch]).toEqual(["active", 1]);
  room.close();
  const { room: opened } = await again();
  expect(opened.alarms).toEqual(["key_rejected"]);
  expect(evidenceIn(vault, room.id)).toEqual([record]);
  expect(await opened.exported()).toContain('{"evidence":');
  await opened.dismissAlarm("key_rejected");
  expect(opened.alarms).toEqual([]);
});

test("a box that does not open since one's own key is gone alarms nobody", async () => {
  const { room, core, hear, deliver, making } = await following();
  await core.change((draft) => {
    const { mid, sign } = draft.view.mine;
    draft.view = { ...draft.view, mine: { ...newMemberKeys(), mid, sign } };
  });
  const { signed, boxes } = makeBoxedRekey(making);
  const at = (signed.record as RecordOf<"rekey_boxed">).boxes.findIndex(
    ([mid]) => hex(mid) === room.me,
  );
  await hear({ type: "box", seq: 2, box: boxes[at] });
  await deliver(signed.envelope, undefined, 2);
  expect(room.epoch).toBe(1);
  expect(room.alarms).toEqual(["key_replaced"]); // and no more than that
});

test("a false answer to who asks for a key is told; one to another request is not", async () => {
  const setting = await following();
  const { room, core, hear, deliver, link, making, append } = setting;
  const { signed } = makeBoxedRekey(making);
  append(signed.envelope);
  await deliver(signed.envelope);
  await expect.poll(() => link.of("key_request")).toHaveLength(1);
  const [asked] = link.of("key_request") as unknown as [{ record: Uint8Array }];
  const { state, mine } = { state: core.view.state, mine: setting.ana };
  const wrong = { nonce: state.nonce, keys: new Map([[1, new Uint8Array(32)]]) };
  const answer = makeKeyAnswer(state, mine, wrong, asked.record);
  const other = signRecord(setting.ana.sign.private, {
    ...(peek(answer.record).record as RecordOf<"key_ans">),
    request_hash: new Uint8Array(32),
  });
  await hear({ type: "key_answered", record: other.envelope, box: answer.box });
  expect(room.alarms).toEqual([]);
  await hear({ type: "key_answered", ...answer });
  expect(room.alarms).toEqual(["key_rejected"]);
});

test("two messages under one number are told, and kept", async () => {
  const { room, vault, say, deliver, ana, again } = await following();
  const [one, other] = [say(ana, text("one")), say(ana, text("another"))];
  await deliver(one.record, one.cell, 2);
  await deliver(other.record, other.cell, 3);
  room.close();
  expect((await again()).room.alarms).toEqual(["log.sender_fork 3"]);
  expect(evidenceIn(vault, room.id)).toEqual([other.record]);
});

test("what freezes a room is kept, and only so much of it", async () => {
  const { room, core, vault, hear } = await following();
  await hear({ type: "delivery", seq: 2, record: new Uint8Array(9), cell: new Uint8Array() });
  expect(evidenceIn(vault, room.id)).toEqual([]); // no record at all proves nothing
  const many = Array.from({ length: 99 }, (_, at) => new Uint8Array([at]));
  await core.enqueue(() => core.freeze("log.fork 2", 2, "", many));
  expect(evidenceIn(vault, room.id)).toHaveLength(32);
});

test("another member's event with my sid leaves my message where it waits", async () => {
  const { room, core, link, say, deliver, ana } = await following();
  await room.send(text("precious words"));
  await expect.poll(() => link.of("post")).toHaveLength(1);
  const [post] = link.of("post") as unknown as [{ record: Uint8Array }];
  const { sid } = peek(post.record).record as RecordOf<"event">;
  const { record, cell } = say(ana, text("something else"), sid);
  await deliver(record, cell, 2);
  expect(core.view.log.seq).toBe(2);
  expect(room.waiting()).toHaveLength(1);
});
