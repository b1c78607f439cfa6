/** What is said about a message that a move by force made void: sent for the id that means it now. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { text } from "../src/client/contents.ts";
import type { Room } from "../src/client/room.ts";
import type { Content } from "../src/e2e/bodies.ts";
import type { MemberKeys } from "../src/e2e/keys.ts";
import { makeBoxedRekey } from "../src/e2e/rekeying.ts";
import { fromHex } from "../src/protocol/bytes.ts";
import { eventId, peek } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import {
  arrives,
  browser,
  edit,
  follow,
  forced,
  garden,
  OTHER,
  reaction,
  redact,
  shownIn,
} from "./garden.ts";
import type { Stage } from "./stage.ts";

const failedIn = (room: Room) => room.waiting().map(({ failed }) => failed);
const saidIn = (room: Room) => room.waiting().map(({ content }) => content);

/** The relay keeps whatever it is sent for the room's own. */
const keeping = (request: Request): object | undefined =>
  request.type === "post" ? { type: "queued", event_id: eventId(peek(request.record)) } : undefined;

/** These are void in that browser, which has followed the room to `copy`; and what waited there. */
async function moved(room: Room, stage: Stage, copy: Stage, waiting: readonly Content[] = []) {
  const old = await follow(room, stage);
  old.close();
  room.detach();
  for (const content of waiting) await room.send(content);
  const fake = await follow(room, copy, [forced(copy)], keeping);
  copy.post(makeBoxedRekey(copy.making()));
  await arrives(room, copy);
  return fake;
}

const again = (copy: Stage, who: MemberKeys, content: Content, { sid }: { sid: string }) =>
  copy.say(who, content, fromHex(sid));

test("what waits about one's own void words is sent for them once they are said again", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  const [one, two] = [stage.say(bo, text("one")), stage.say(bo, text("two"))];
  const about = [edit(one.id, "one, edited"), reaction(one.id, "🎉"), redact(two.id)];
  const fake = await moved(room, stage, copy, [...about, text("three")]);
  await expect.poll(() => fake.of("post")).toHaveLength(2); // in the words that others had
  expect(saidIn(room)).toEqual([text("one"), text("two"), ...about, text("three")]);
  const now = [again(copy, bo, text("one"), one), again(copy, bo, text("two"), two)];
  await arrives(room, copy);
  await expect.poll(() => fake.of("post")).toHaveLength(6);
  const [first = "", second = ""] = now.map(({ id }) => id);
  expect(saidIn(room)).toEqual([
    edit(first, "one, edited"),
    reaction(first, "🎉"),
    redact(second),
    text("three"),
  ]);
  expect(await room.voided()).toEqual([]);
});

test("what nobody says again can not be changed; once somebody has, it can, and is tried again", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, stage.root);
  const copy = stage.branch();
  const spam = stage.say(bo, text("spam"));
  const fake = await moved(room, stage, copy, [redact(spam.id), text("three")]);
  await expect.poll(() => fake.of("post")).toHaveLength(1);
  expect(failedIn(room)).toEqual(["out_void", ""]);
  const { id } = again(copy, bo, text("spam"), spam);
  await arrives(room, copy);
  await room.retry(room.waiting()[0]?.id ?? "");
  await expect.poll(() => fake.of("post")).toHaveLength(2);
  expect(saidIn(room).at(-1)).toEqual(redact(id));
});

test("words that were begun before the room was moved are about what they were meant for", async () => {
  const { stage, bo } = garden();
  const { room } = await browser(stage, bo);
  const copy = stage.branch();
  const one = stage.say(bo, text("one"));
  await moved(room, stage, copy);
  const { id } = again(copy, bo, text("one"), one);
  await arrives(room, copy);
  await room.send(edit(one.id, "one, edited"));
  await room.send(text("yes", { replyTo: fromHex(one.id) }));
  const reply = text("yes", { replyTo: fromHex(id) });
  await expect.poll(() => saidIn(room)).toEqual([edit(id, "one, edited"), reply]);
  // In the log itself an id that is void means nothing.
  copy.say(bo, edit(one.id, "in vain"));
  await arrives(room, copy);
  expect(await shownIn(room)).toEqual(["one"]);
});

test("it is found by each of its ids, however often the room was moved", async () => {
  const { stage, bo } = garden();
  stage.admit(stage.root, OTHER);
  const { room } = await browser(stage, bo);
  const [copy, last] = [stage.branch(), stage.branch()];
  const one = stage.say(stage.root, text("one"));
  await moved(room, stage, copy);
  const two = again(copy, stage.root, text("one"), one);
  await arrives(room, copy);
  room.detach();
  await room.send(reaction(one.id, "👀"));
  const fake = await follow(room, last, [forced(last, OTHER, 2)], keeping);
  last.post(makeBoxedRekey(last.making()));
  await arrives(room, last);
  await expect.poll(() => failedIn(room)).toEqual(["out_void"]);
  const three = again(last, stage.root, text("one"), one);
  await arrives(room, last);
  await room.discard(room.waiting()[0]?.id ?? "");
  for (const id of [one.id, two.id]) await room.send(reaction(id, "👀"));
  await expect.poll(() => fake.of("post")).toHaveLength(2);
  expect(saidIn(room)).toEqual([reaction(three.id, "👀"), reaction(three.id, "👀")]);
});

test("it is known again also where its person has seen what is void", async () => {
  const { stage, bo, cy } = garden();
  const { room } = await browser(stage, stage.root);
  const copy = stage.branch();
  const [spam, mine] = [stage.say(cy, text("spam")), stage.say(stage.root, text("mine"))];
  const other = stage.say(bo, text("other"));
  stage.say(stage.root, redact(spam.id));
  await moved(room, stage, copy, [edit(mine.id, "mine, edited"), reaction(other.id, "👀")]);
  await room.forgetVoided();
  expect([room.cut, await room.voided()]).toEqual([undefined, []]);
  const now = [again(copy, cy, text("spam"), spam), again(copy, stage.root, text("mine"), mine)];
  again(copy, bo, text("other words"), other);
  await arrives(room, copy);
  const [first = "", second = ""] = now.map(({ id }) => id);
  await expect.poll(() => failedIn(room)).toEqual(["", "out_void", ""]);
  const about = [edit(second, "mine, edited"), reaction(other.id, "👀"), redact(first)];
  expect(saidIn(room)).toEqual(about);
});
