/** The place where a room goes on lies in a stretch that its relay no longer had, and nobody read here. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { append, unknownLog } from "../src/e2e/log.ts";
import { makeBoxedRekey } from "../src/e2e/rekeying.ts";
import { isControl } from "../src/protocol/records.ts";
import { peek } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import { browser, deliver, follow, forced, garden, linkTo, NEW, OTHER, shownIn } from "./garden.ts";
import type { Stage } from "./stage.ts";

/** The relay of this stage keeps the control log, and of all else no more than its last entry. */
const forgetful =
  (stage: Stage) =>
  (request: Request): object | undefined => {
    const { end } = stage;
    if (request.type === "chain_get") {
      const behind = stage.log.slice(request.start);
      const chain = behind.filter(([, raw]) => isControl(peek(raw).record));
      const [seqs, records] = [chain.map(([seq]) => seq), chain.map(([, raw]) => raw)];
      return { type: "chain_page", seqs, records, more: false };
    }
    const log = stage.view(stage.root).log.recent.at(-2);
    return request.type === "sync"
      ? { type: "synced", start: end, floor: end, head: end, log }
      : undefined;
  };

/** Bo was away while the room was moved by force, and that by another move of root's came to nothing. */
async function away() {
  const { stage, bo } = garden();
  stage.admit(stage.root, OTHER);
  const { room } = await browser(stage, bo);
  stage.say(stage.root, text("one"));
  const copy = stage.branch();
  forced(stage, OTHER, 1);
  stage.post(makeBoxedRekey(stage.making()));
  stage.say(stage.root, text("void"));
  const fake = linkTo(room, stage, [], forgetful(stage));
  const attached = room.attach(fake.link, new Uint8Array(45));
  await expect.poll(() => room.state.moved).toHaveLength(1);
  deliver(room, stage, stage.end);
  await attached;
  copy.say(copy.root, text("two"));
  copy.say(copy.root, text("three"));
  const move = forced(copy, NEW, 2);
  return { room, copy, move };
}

test("the room goes on from there, with what its relay says that L is, as behind any stretch that is gone", async () => {
  const { room, copy, move } = await away();
  const fake = await follow(room, copy, [move]);
  expect([room.saved.status, await shownIn(room)]).toEqual(["active", ["two", "three"]]);
  expect(fake.of("sync")).toMatchObject([{ log: undefined }]);
  copy.post(makeBoxedRekey(copy.making()));
  copy.say(copy.root, text("four"));
  deliver(room, copy, room.lastSeq + 1);
  await expect.poll(() => shownIn(room)).toEqual(["two", "three", "four"]);
  await follow(room, copy); // it is known from now on
});

test("nothing that is still on its way is counted on from where L is not known", () => {
  const { stage } = garden();
  const [, record] = stage.log[2] as [number, Uint8Array];
  const broken = expect.objectContaining({ fault: "gap" });
  expect(() => append(unknownLog(stage.view(stage.root).log.room, 1), 2, record)).toThrow(broken);
});

test("what the relay says that L is there is held against what root has signed", async () => {
  const { room, copy, move } = await away();
  room.detach();
  const fake = linkTo(room, copy, [move], (request) =>
    request.type === "sync"
      ? { type: "synced", start: request.start, floor: 0, head: copy.end, log: OTHER }
      : undefined,
  );
  void room.attach(fake.link, new Uint8Array(45));
  await expect.poll(() => fake.of("sync")).toHaveLength(1);
  deliver(room, copy, room.lastSeq + 1);
  await expect.poll(() => room.saved.status).toBe("frozen");
  expect(room.saved.reason).toMatch(/^log.fork /);
});
