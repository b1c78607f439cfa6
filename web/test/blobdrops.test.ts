/** Files whose message was deleted: the relay is to forget them too, however long that takes. */

import "fake-indexeddb/auto";
import { afterEach, expect, onTestFinished, test, vi } from "vitest";

import { BlobDrops, keepDrop } from "../src/client/blobdrops.ts";
import { RoomCore } from "../src/client/core.ts";
import { Room } from "../src/client/room.ts";
import { json } from "../src/client/saved.ts";
import { FileSealer } from "../src/e2e/attachments.ts";
import type { Content } from "../src/e2e/bodies.ts";
import { sealEvent } from "../src/e2e/events.ts";
import { type MemberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { nextOf, seenOf } from "../src/e2e/log.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { eventId, randomBytes } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import { LinkLost } from "../src/wire/link.ts";
import { refusing } from "./databases.ts";
import { FakeLink, founded, keep, newVault, refusal, withMember } from "./rooms.ts";

type Drop = Extract<Request, { type: "blob_drop" }>;

afterEach(() => void vi.useRealTimers());

// -- which are to be dropped -----------------------------------------------------------------------

const BO = newMemberKeys();

/** Root's room with Bo in it; what either says is delivered. */
async function talking(role: "member" | "co-owner" = "member") {
  const { view, id, root } = await founded();
  const vault = await newVault();
  await keep(vault, { ...view, state: withMember(view, BO, { role }) });
  const room = new Room(vault, id, () => undefined);
  onTestFinished(() => room.close());
  const { core } = room as unknown as { core: RoomCore };
  const say = async (mine: MemberKeys, content: Content) => {
    const { state, keys, log, senders } = core.view;
    const next = nextOf(senders, state.room, mine.mid);
    const message = { content, sid: randomBytes(16), ts: 5, name: "", voids: [], ...next };
    const { signed, cell } = sealEvent(state, mine, keys, message, seenOf(log));
    const record = signed.envelope;
    room.receive({ type: "delivery", room: state.room, seq: room.lastSeq + 1, record, cell });
    await room.markRead(room.saved.readUpTo + 1);
    return eventId(signed);
  };
  const send = async (mine: MemberKeys) => {
    const file = new FileSealer(core.view.state.room, 0).finish("plan.txt", "text/plain", "");
    return { target: await say(mine, file), blob: hex(file.blob_id), file };
  };
  const redact = (mine: MemberKeys, target: Uint8Array) =>
    say(mine, { type: "redact", target, reason: "" });
  const drops = () =>
    vault.items(core.tables.drops).map(([id, raw]) => [id.slice(0, 32), json.read(raw)]);
  const shown = async () => (await room.history()).map(({ kind }) => kind);
  return { root, send, say, redact, drops, shown };
}

test("one's own file, and another's that an owner deletes, are to be dropped as their sender's", async () => {
  const { root, send, redact, drops, shown } = await talking();
  const [mine, theirs] = [await send(root), await send(BO)];
  expect(drops()).toEqual([]);
  await redact(root, mine.target);
  expect(drops()).toEqual([[mine.blob, hex(root.mid)]]);
  await redact(root, theirs.target);
  const all = [
    [mine.blob, hex(root.mid)],
    [theirs.blob, hex(BO.mid)],
  ];
  expect(drops()).toEqual(all.sort());
  expect(await shown()).toEqual(["redacted", "redacted"]);
});

test("a file that another message of its sender's still names is left alone, until that is deleted", async () => {
  const { root, send, say, redact, drops } = await talking();
  const first = await send(root);
  const again = await say(root, first.file); // it was said anew: both came into the log
  await redact(root, again);
  expect(drops()).toEqual([]);
  await redact(root, again); // nothing is left of it
  expect(drops()).toEqual([]);
  await redact(root, first.target);
  expect(drops()).toEqual([[first.blob, hex(root.mid)]]);
});

test("a message of another's that cites a file keeps it nowhere", async () => {
  const { root, send, say, redact, drops } = await talking();
  const mine = await send(root);
  await say(BO, mine.file);
  await redact(root, mine.target);
  expect(drops()).toEqual([[mine.blob, hex(root.mid)]]);
});

test("what others delete is theirs to drop; what nobody may delete stays; words have no file", async () => {
  const { root, send, say, redact, drops, shown } = await talking();
  const [mine, theirs] = [await send(root), await send(BO)];
  await redact(BO, theirs.target);
  await redact(BO, mine.target); // in vain: of another, by no owner
  await redact(root, theirs.target); // it is gone already
  const words = { type: "text", text: "hi", format: "plain", mentions: [] } as const;
  await redact(root, await say(root, words as unknown as Content));
  expect(drops()).toEqual([]);
  expect(await shown()).toEqual(["file", "redacted", "redacted"]);
});

// -- asking for it ---------------------------------------------------------------------------------

/** A vault with these attachments to drop. */
async function keeping(...blobs: string[]) {
  const { vault, id, root, state } = await founded();
  const core = new RoomCore(vault, id, () => undefined);
  await core.change(({ turn }) => {
    for (const blob of blobs) keepDrop(turn, core.tables, blob, hex(root.mid));
  });
  core.close();
  return { vault, id, root, room: state.room };
}

/** The page with such a vault, on a link that answers so. */
function page(
  { vault, id }: Pick<Awaited<ReturnType<typeof keeping>>, "vault" | "id">,
  answers: (drop: Drop, at: number) => object | Error | undefined,
) {
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  const drops = new BlobDrops(core);
  let asked = 0;
  const connect = () => {
    const fake = new FakeLink((request) => answers(request as Drop, asked++));
    core.link = fake.link;
    core.isLive = true;
    drops.check();
    return fake;
  };
  const left = () => vault.items(core.tables.drops).map(([id]) => id.slice(0, 32));
  return { core, drops, connect, left };
}

const ONE = "11".repeat(16);
const TWO = "22".repeat(16);
const done = () => ({ type: "done" });

test("each is asked for once, one after the other, and is then forgotten", async () => {
  const kept = await keeping(ONE, TWO);
  let most = 0;
  let open = 0;
  const { core, connect, left, drops } = page(kept, () => {
    most = Math.max(most, ++open);
    return Promise.resolve().then(() => {
      open -= 1;
      return done();
    });
  });
  const fake = connect();
  drops.check();
  await expect.poll(left).toEqual([]);
  const { room, root } = kept;
  expect(fake.asked).toEqual(
    [ONE, TWO].map((blob) => {
      return { type: "blob_drop", room, blob: fromHex(blob), uploader: root.mid };
    }),
  );
  expect([most, core.alarms.all]).toEqual([1, []]);
});

test("two have stored the same attachment: the relay is to forget what each of them did", async () => {
  const { vault, id } = await founded();
  const { core, connect, left } = page({ vault, id }, done);
  const uploaders = ["aa".repeat(32), "bb".repeat(32)];
  await core.change(({ turn }) => {
    for (const one of uploaders) keepDrop(turn, core.tables, ONE, one);
  });
  const fake = connect();
  await expect.poll(left).toEqual([]);
  const asked = fake.of("blob_drop") as Drop[];
  expect(asked.map(({ blob, uploader }) => [hex(blob), hex(uploader)])).toEqual(
    uploaders.map((one) => [ONE, one]),
  );
});

test("what an earlier version kept, by the attachment's id alone, is asked for as it was", async () => {
  const { vault, id, root } = await founded();
  const { core, connect, left } = page({ vault, id }, done);
  await core.change(({ turn }) => turn.put(core.tables.drops, ONE, json.write(hex(root.mid))));
  const fake = connect();
  await expect.poll(left).toEqual([]);
  expect(fake.asked).toMatchObject([{ blob: fromHex(ONE), uploader: root.mid }]);
});

test("nothing is asked before the room is live; what a link or a page did not live to see is asked again", async () => {
  const kept = await keeping(ONE);
  const first = page(kept, () => undefined);
  first.drops.check();
  const lost = first.connect();
  await expect.poll(() => lost.asked.length).toBe(1);
  lost.close();
  first.core.isLive = false;
  first.drops.linkLost();
  const again = first.connect();
  await expect.poll(() => again.asked.length).toBe(1);
  expect(first.left()).toEqual([ONE]);
  first.core.close();
  again.close();

  const second = page(kept, done);
  const fake = second.connect();
  await expect.poll(second.left).toEqual([]);
  expect(fake.asked).toHaveLength(1);
});

test("a link that dies is not asked again and again", async () => {
  const { connect, left } = page(await keeping(ONE), () => new LinkLost("closed"));
  const fake = connect();
  await new Promise((resolve) => setImmediate(resolve));
  expect([fake.asked.length, left()]).toEqual([1, [ONE]]);
});

test.each(["try_again", "hub_away", "rate_limited", "internal", "not_attached", "wrong_relay"])(
  "refused by %s, it is asked for later, and more and more seldom",
  async (code) => {
    const kept = await keeping(ONE);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { connect, left, core } = page(kept, () => refusal(code));
    const fake = connect();
    const after = async (seconds: number) => {
      await vi.advanceTimersByTimeAsync(1_000 * seconds);
      return fake.asked.length;
    };
    expect([await after(0), await after(1), await after(1), await after(1)]).toEqual([1, 2, 2, 3]);
    expect(await after(3_600)).toBeLessThan(20);
    expect([left(), core.alarms.all]).toEqual([[ONE], []]);
  },
);

test("what the browser can not write down as done is asked for again in a while", async () => {
  const kept = await keeping(ONE, TWO);
  const { connect, left } = page(kept, done);
  const restore = refusing("UnknownError", (mode) => mode === "readwrite");
  const fake = connect();
  await expect.poll(() => fake.asked.length).toBe(1);
  await expect.poll(() => fake.asked.length).toBe(2);
  expect(left()).toEqual([ONE, TWO]);
  restore();
  await expect.poll(left).toEqual([]);
});

test("the relay's own wait counts, and a new link ends it", async () => {
  const kept = await keeping(ONE);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const { connect, left, drops } = page(kept, (_, at) =>
    at === 0 ? refusal("rate_limited", { retry_after: 60_000 }) : done(),
  );
  const fake = connect();
  await vi.advanceTimersByTimeAsync(59_000);
  expect(fake.asked).toHaveLength(1);
  drops.linkLost();
  const other = connect();
  await vi.advanceTimersByTimeAsync(0);
  await expect.poll(() => left()).toEqual([]);
  expect(other.asked).toHaveLength(1);
});

test.each(["forbidden", "bad_frame", "a_code_of_tomorrow"])(
  "refused by %s, it is asked for no more, and its person hears that the relay keeps the file",
  async (code) => {
    const { connect, left, core } = page(await keeping(ONE, TWO), (_, at) =>
      at === 0 ? refusal(code) : done(),
    );
    const fake = connect();
    await expect.poll(left).toEqual([]);
    expect(fake.asked).toHaveLength(2);
    expect(core.alarms.all).toEqual([expect.stringMatching(/^file_stays /)]);
    expect(core.alarms.all[0]).toContain(code);
  },
);

test("what another relay was asked, the one that the room is reached at now is asked too", async () => {
  const { connect, left, drops, core } = page(await keeping(ONE), (_, at) =>
    at === 0 ? undefined : done(),
  );
  const before = connect();
  await expect.poll(() => before.asked.length).toBe(1);
  drops.linkLost();
  const after = connect(); // the question to the one before is still open
  expect(after.asked).toEqual([]);
  before.close();
  await expect.poll(left).toEqual([]);
  expect([after.asked.length, core.alarms.all]).toEqual([1, []]);
});
