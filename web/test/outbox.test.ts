/** What is said reaches the log once and in order, whatever the relay answers. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test } from "vitest";

import { text } from "../src/client/contents.ts";
import { amend, RoomCore } from "../src/client/core.ts";
import { Outbox } from "../src/client/outbox.ts";
import { refusedWith } from "../src/client/told.ts";
import { FileSealer } from "../src/e2e/attachments.ts";
import { openVerified } from "../src/e2e/events.ts";
import { take } from "../src/e2e/view.ts";
import { hex } from "../src/protocol/bytes.ts";
import type { RecordOf } from "../src/protocol/records.ts";
import { eventId, peek, type Signed } from "../src/themis/index.ts";
import { LinkLost, type Request } from "../src/wire/link.ts";
import { FakeLink, founded, RELAY_ID, refusal } from "./rooms.ts";

type Post = Extract<Request, { type: "post" }>;
type Said = RecordOf<"event">;
type Answered = object | Error | undefined;
type Answer = (post: Post, at: number) => Answered | Promise<Answered>;

const eventOf = ({ record }: Post) => peek(record) as Signed<RecordOf<"event">>;

/** An outbox on a link that answers posts so, by their number. */
async function sending(answer: Answer) {
  const { vault, id } = await founded();
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  const outbox = new Outbox(core);
  const connect = () => {
    const fake = new FakeLink((request) =>
      request.type === "post" ? answer(request, posts().length - 1) : {},
    );
    core.link = fake.link;
    links.push(fake);
    core.isLive = true;
    return fake;
  };
  const links: FakeLink[] = [];
  const posts = () => links.flatMap((one) => one.of("post") as Post[]);
  connect();
  const saidIn = (post: Post) => {
    const { record } = eventOf(post);
    const body = openVerified(core.view.keys, eventOf(post), post.cell, new Set()).body;
    return { ...record, voids: body.voids.map(hex), content: body.content };
  };
  /** It comes back in the log. */
  const deliver = (post: Post) =>
    core.change((draft) => {
      const { view, event } = take(draft.view, draft.view.log.seq + 1, post.record, post.cell);
      draft.view = view;
      if (event) outbox.arrived(draft.turn, event.record.sid);
    });
  return { core, outbox, posts, saidIn, connect, links, deliver };
}

const acked = (post: Post) => ({
  type: "ack",
  event_id: eventId(eventOf(post)),
  seq: 99,
  log: new Uint8Array(32),
});

const states = (outbox: Outbox) =>
  outbox.items().map(({ content, failed }) => [content.type === "text" && content.text, failed]);

test("what can not be sealed is marked with the reason, and the next one goes", async () => {
  const { outbox, posts, saidIn } = await sending(acked);
  await outbox.send(text("x".repeat(60_000)));
  await outbox.send(text("short"));
  await expect.poll(() => posts().length).toBe(1);
  expect(saidIn(posts()[0] as Post).content).toMatchObject({ text: "short" });
  expect(outbox.items()[0]?.failed).toBe("body.too_long");
  expect(outbox.items()[1]?.failed).toBe("");
});

test("each event follows the one before it, before that has come back", async () => {
  const { outbox, posts, deliver } = await sending(acked);
  for (const words of ["one", "two", "three"]) await outbox.send(text(words));
  await expect.poll(() => posts().length).toBe(3);
  const events = posts().map(eventOf);
  expect(events.map(({ record }) => record.counter)).toEqual([1, 2, 3]);
  expect(events[2]?.record.prev).toEqual(eventId(events[1] as Signed));
  for (const post of posts()) await deliver(post);
  expect(outbox.items()).toEqual([]);
});

test.each(["forbidden", "too_large", "some_new_code"])(
  "%s is final: it is shown, and the next event declares it void",
  async (code) => {
    const { outbox, posts, saidIn } = await sending((post, at) =>
      at === 0 ? refusal(code) : acked(post),
    );
    await outbox.send(text("refused"));
    await outbox.send(text("taken"));
    await expect.poll(() => posts().length).toBe(2);
    expect(states(outbox)).toEqual([
      ["refused", refusedWith(code)],
      ["taken", ""],
    ]);
    const [first, second] = posts() as [Post, Post];
    expect(saidIn(second).counter).toBe(saidIn(first).counter);
    expect(saidIn(second).voids).toEqual([hex(eventId(eventOf(first)))]);
  },
);

test.each([
  "try_again",
  "storage_failed",
  "rate_limited",
  "hub_away",
  "shutting_down",
  "internal",
  "wrong_relay",
])("%s passes: the same bytes are sent again on the same link", async (code) => {
  const { outbox, posts, links } = await sending((post, at) =>
    at === 0 ? refusal(code, { retry_after: 1 }) : acked(post),
  );
  await outbox.send(text("patience"));
  await expect.poll(() => posts().length, { timeout: 10_000 }).toBe(2);
  expect(posts()[1]?.record).toEqual(posts()[0]?.record);
  expect(links[0]?.isClosed).toBe(false);
});

test("a relay that wants to be left alone for ever is not asked again at once", async () => {
  const { outbox, posts } = await sending(() =>
    refusal("try_again", { retry_after: Number.MAX_SAFE_INTEGER }),
  );
  await outbox.send(text("patience"));
  await expect.poll(() => posts().length).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(posts()).toHaveLength(1);
});

test.each(["not_attached", "not_found"])("%s has the link opened anew", async (code) => {
  const { outbox, links, posts, connect } = await sending((post, at) =>
    at === 0 ? refusal(code) : acked(post),
  );
  await outbox.send(text("again"));
  await expect.poll(() => links[0]?.isClosed).toBe(true);
  outbox.linkLost();
  connect();
  outbox.pump();
  await expect.poll(() => posts().length).toBe(2);
  expect(posts()[1]?.record).toEqual(posts()[0]?.record);
});

test.each([
  ["hub_behind", RELAY_ID, "relay_behind"],
  ["hub_behind", new Uint8Array(32), "copy_behind"],
  ["fork", RELAY_ID, "fork"],
  ["fork", new Uint8Array(32), "fork"],
])(
  "%s proves nothing: the relay is to be asked anew, and then sent the same",
  async (code, relayId, word) => {
    const { core, outbox, posts } = await sending((post, at) =>
      at === 0 ? refusal(code, { seq: 0 }) : acked(post),
    );
    await core.change((draft) => amend(draft, { relayId }));
    const words: string[] = [];
    core.misfit = (one) => {
      words.push(one);
      core.isLive = false;
    };
    await outbox.send(text("kept"));
    await expect.poll(() => words).toEqual([word]);
    expect([core.saved.status, states(outbox), core.isDoubted]).toEqual([
      "active",
      [["kept", ""]],
      true,
    ]);
    await core.enqueue(async () => undefined);
    await new Promise((done) => setTimeout(done));
    core.isLive = true;
    outbox.pump();
    await expect.poll(() => posts().length).toBe(2);
    expect(posts()[1]?.record).toEqual(posts()[0]?.record);
  },
);

test.each([
  ["is under way until it comes", "sid_conflict", 2],
  ["by its counter, too", "counter_gap", 2],
  ["leaves the outbox, if it was missed here", "sid_conflict", 0],
])("after a lost link the same bytes are sent; what stands in the log %s", async (_, code, seq) => {
  const { core, outbox, posts, connect, deliver } = await sending((post, at) => {
    if (at === 0) return new LinkLost("gone");
    if (at > 1) return acked(post);
    const event_id = eventId(eventOf(post));
    return refusal(code, { event_id, seq });
  });
  await outbox.send(text("once"));
  await expect.poll(() => posts().length).toBe(1);
  outbox.linkLost();
  connect();
  outbox.pump();
  await expect.poll(() => posts().length).toBe(2);
  expect(posts()[1]?.record).toEqual(posts()[0]?.record);
  await outbox.send(text("next"));
  if (seq > core.view.log.seq) {
    expect(states(outbox)).toEqual([
      ["once", ""],
      ["next", ""],
    ]);
    await deliver(posts()[1] as Post);
    outbox.pump();
  }
  await expect.poll(() => posts().length).toBe(3);
  expect(states(outbox)).toEqual([["next", ""]]);
  const { counter, prev } = eventOf(posts()[2] as Post).record;
  expect(counter).toBe(2);
  expect(prev).toEqual(eventId(eventOf(posts()[0] as Post)));
});

test("refused as stale, it is made anew once the log has come, with the same counter and sid", async () => {
  const { core, outbox, posts } = await sending((post, at) =>
    at === 0 ? refusal("seen_stale") : acked(post),
  );
  await outbox.send(text("late"));
  await expect.poll(() => posts().length).toBe(1);
  await core.change((draft) => {
    const { log } = draft.view;
    draft.view = { ...draft.view, log: { ...log, seq: log.seq + 1 } };
  });
  await expect.poll(() => posts().length).toBe(2);
  const [first, second] = posts().map((post) => eventOf(post).record) as [Said, Said];
  expect([second.counter, second.sid]).toEqual([first.counter, first.sid]);
  expect(second.seen.seq).toBe(first.seen.seq + 1);
});

test("what was missed may have come before the refusal", async () => {
  const { core, outbox, posts } = await sending(async (post, at) => {
    if (at > 0) return acked(post);
    await core.change((draft) => {
      const { log } = draft.view;
      draft.view = { ...draft.view, log: { ...log, seq: log.seq + 1 } };
    });
    return refusal("seen_stale");
  });
  await outbox.send(text("late"));
  await expect.poll(() => posts().length).toBe(2);
});

test("what the room's relay refuses, that this one's had kept, is refused with all behind it", async () => {
  const { outbox, posts, saidIn } = await sending((post) =>
    posts().length > 2
      ? acked(post)
      : { type: "queued", event_id: eventId(eventOf(post)), sid: eventOf(post).record.sid },
  );
  await outbox.send(text("first"));
  await outbox.send(text("second"));
  await expect.poll(() => posts().length).toBe(2);
  const [first, second] = posts() as [Post, Post];
  const returned = (post: Post, code: string) =>
    outbox.returned({
      type: "returned",
      room: eventOf(post).record.room,
      sid: eventOf(post).record.sid,
      event_id: eventId(eventOf(post)),
      code,
      text: code,
      seq: undefined,
      last: undefined,
    });
  await returned(first, "forbidden");
  expect(posts()).toHaveLength(2); // until the one behind it has come back too
  await returned(second, "prev_mismatch");
  await expect.poll(() => posts().length).toBe(3);
  expect(states(outbox)).toEqual([
    ["first", "forbidden"],
    ["second", ""],
  ]);
  expect(saidIn(posts()[2] as Post)).toMatchObject({ counter: 1, sid: saidIn(second).sid });
});

test("a vault that was put back to an earlier state says nothing twice by itself", async () => {
  const { core, outbox, posts } = await sending(acked);
  core.isLive = false;
  await outbox.send(text("maybe said"));
  await core.change((draft) => outbox.takeUp(draft, 7, new Uint8Array(32).fill(9)));
  core.isLive = true;
  expect(outbox.items()[0]?.failed).toBe("out_put_back");
  await outbox.send(text("new"));
  await expect.poll(() => posts().length).toBe(1);
  expect(eventOf(posts()[0] as Post).record.counter).toBe(8);
});

const aFile = (core: RoomCore) => new FileSealer(core.view.state.room, 0).finish("plan", "", "");
const dropsOf = ({ vault, tables }: RoomCore) =>
  vault.items(tables.drops).map(([id]) => id.slice(0, 32));

test("a file whose message was refused, and is discarded, is to be forgotten by the relay", async () => {
  const { core, outbox } = await sending(() => refusal("forbidden"));
  const content = aFile(core);
  await outbox.send(content);
  await expect.poll(() => outbox.items()[0]?.failed).toBe("forbidden");
  await outbox.discard(outbox.items()[0]?.id as string);
  expect([outbox.items(), dropsOf(core)]).toEqual([[], [hex(content.blob_id)]]);
});

test("so is one whose message was never posted; words have no file", async () => {
  const { core, outbox } = await sending(() => undefined);
  core.isLive = false;
  const content = aFile(core);
  await outbox.send(text("words"));
  await outbox.send(content);
  for (const { id } of outbox.items()) await outbox.discard(id);
  expect(dropsOf(core)).toEqual([hex(content.blob_id)]);
});

test("a file whose message may stand in the log is left alone, also after it was said anew", async () => {
  const { core, outbox, posts } = await sending(() => refusal("forbidden"));
  core.isLive = false;
  for (const _ of "ab") await outbox.send(aFile(core));
  await core.change((draft) => outbox.takeUp(draft, 7, new Uint8Array(32).fill(9)));
  const [one, other] = outbox.items().map(({ id }) => id) as [string, string];
  await outbox.discard(one);
  core.isLive = true;
  await outbox.retry(other);
  await expect.poll(() => outbox.items()[0]?.failed).toBe("forbidden");
  await outbox.discard(outbox.items()[0]?.id as string);
  expect([posts().length, outbox.items(), dropsOf(core)]).toEqual([1, [], []]);
});

test("a file whose message is under way is left alone", async () => {
  const { core, outbox, posts } = await sending(() => undefined);
  await outbox.send(aFile(core));
  await expect.poll(() => posts().length).toBe(1);
  await outbox.discard(outbox.items()[0]?.id as string);
  expect(dropsOf(core)).toEqual([]);
});

test("once nobody will hear it any more, all that waits says so", async () => {
  const { core, outbox } = await sending(() => undefined);
  await outbox.send(text("too late"));
  await core.change((draft) => outbox.giveUp(draft));
  expect(outbox.items()[0]?.failed).toMatch(/^out_gone/);
});
