/** What a browser can not keep, and what another tab has taken: nobody is blamed, nothing is lost. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { text } from "../src/client/contents.ts";
import { RoomCore, RoomOver } from "../src/client/core.ts";
import type { FileLike } from "../src/client/files.ts";
import { Outbox } from "../src/client/outbox.ts";
import { Room } from "../src/client/room.ts";
import { CLOSED_EARLY, Uploads } from "../src/client/uploads.ts";
import { Vault } from "../src/client/vault.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { seenOf } from "../src/e2e/log.ts";
import { makeRekey } from "../src/e2e/rekeying.ts";
import { CHUNK_BYTES } from "../src/protocol/limits.ts";
import { refusing } from "./databases.ts";
import { FakeLink, founded } from "./rooms.ts";

/** Another tab opens the vault; its own view of a room there. */
async function taken(vault: Vault, id: string) {
  const inside = vault as unknown as { database: { name: string }; dek: Uint8Array };
  const other = await Vault.openWith(inside.database.name, inside.dek.slice());
  const core = new RoomCore(other, id, () => undefined);
  onTestFinished(() => core.close());
  return { other, core };
}

async function room() {
  const { vault, id } = await founded();
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  return { vault, id, core, outbox: new Outbox(core) };
}

test("what is said after another tab took the vault is refused, and not sent from there either", async () => {
  const { vault, id, core, outbox } = await room();
  const there = await taken(vault, id);
  await expect(outbox.send(text("too late"))).rejects.toThrow(RoomOver);
  expect([core.isOver, new Outbox(there.core).items()]).toEqual([true, []]);
  await expect(outbox.send(text("later still"))).rejects.toThrow(RoomOver);
});

test("what is said while the vault is locked is refused, whatever was written until then", async () => {
  const { vault, id, core, outbox } = await room();
  const both = [outbox.send(text("in time")), outbox.send(text("too late"))];
  await both[0];
  core.close();
  await expect(both[1]).rejects.toThrow(RoomOver);
  const kept = new Outbox((await taken(vault, id)).core).items();
  expect(kept.map(({ content }) => content)).toMatchObject([{ text: "in time" }]);
});

test.each([
  ["QuotaExceededError", "vault.full"],
  ["UnknownError", "vault.not_written"],
])("what waits is sent once the browser writes again, after %s", async (error, alarm) => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const { core, outbox } = await room();
  await outbox.send(text("patience"));
  const fake = new FakeLink(() => undefined);
  const restore = refusing(error, (mode) => mode === "readwrite");
  core.link = fake.link;
  core.isLive = true;
  outbox.pump();
  await expect.poll(() => core.alarms.all).toEqual([alarm]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(fake.of("post")).toEqual([]);
  restore();
  await vi.advanceTimersByTimeAsync(60_000);
  await expect.poll(() => fake.of("post")).toHaveLength(1);
  expect(core.alarms.all).toEqual([]);
});

test("what a person did and nobody waits for is heard of all the same where it is not kept", async () => {
  const { vault, id } = await founded();
  const opened = new Room(vault, id, () => undefined);
  onTestFinished(() => opened.close());
  await opened.send(text("not this"));
  const unheard: string[] = [];
  const hear = (error: Error) => void unheard.push(error.name);
  process.on("unhandledRejection", hear);
  onTestFinished(() => void process.off("unhandledRejection", hear));
  onTestFinished(refusing("UnknownError", (mode) => mode === "readwrite"));
  void opened.setVerified("aa", "11111");
  void opened.discard(opened.waiting()[0]?.id as string);
  await expect.poll(() => unheard).toEqual(["VaultError", "VaultError"]); // the page shows these
});

test("what was refused is said anew in one turn: it is never nowhere", async () => {
  const { core, outbox } = await room();
  await outbox.send(text("again"));
  await core.change((draft) => outbox.giveUp(draft));
  const [refused] = outbox.items();
  expect(refused?.failed).toBe("out_gone");
  const restore = refusing("UnknownError", (mode) => mode === "readwrite");
  await expect(outbox.retry(refused?.id as string)).rejects.toThrow("database");
  expect(outbox.items()).toEqual([refused]);
  restore();
  await outbox.retry(refused?.id as string);
  expect(outbox.items()).toMatchObject([{ content: { text: "again" }, failed: "" }]);
});

test.each(["read", "readwrite"])(
  "an entry that comes while the database fails to %s comes again, and no relay is blamed",
  async (failing) => {
    const { vault, id, view } = await founded();
    const { log } = view.log;
    const opened = new Room(vault, id, () => undefined);
    onTestFinished(() => opened.close());
    const connect = async () => {
      const fake = new FakeLink(({ type }) => {
        if (type === "attach") return { type: "attached", seq: 1, log, cursor: 0, counter: 0 };
        if (type === "sync") return { type: "synced", start: 2, floor: 0, head: 1, log };
        return undefined;
      });
      await opened.attach(fake.link, newMemberKeys().sign.public);
      return fake;
    };
    const fake = await connect();
    const record = rekeyOf(opened);
    const deliver = (seq: number) =>
      opened.receive({ type: "delivery", room: view.state.room, seq, record, cell: NONE });
    const restore = refusing("InvalidStateError", (mode) => mode.startsWith(failing));
    deliver(2);
    deliver(3); // behind it, and no gap
    await expect.poll(() => fake.isClosed).toBe(true);
    expect([opened.alarms, opened.saved.status, opened.lastSeq]).toEqual([
      ["vault.not_written"],
      "active",
      1,
    ]);
    restore();
    opened.detach();
    await connect();
    deliver(2);
    await expect.poll(() => opened.lastSeq).toBe(2);
    expect([opened.alarms, opened.epoch]).toEqual([[], 1]);
  },
);

const NONE = new Uint8Array();
const NOBODY = () => undefined;

function rekeyOf(opened: Room): Uint8Array {
  const { view } = (opened as unknown as { core: RoomCore }).core;
  const making = { state: view.state, mine: view.mine, seen: seenOf(view.log), now: 1 };
  return makeRekey(making, view.keys).signed.envelope;
}

test("a founder's room that can not be kept as made says so, and asks on the next link", async () => {
  const { vault, id } = await founded();
  const opened = new Room(vault, id, () => undefined);
  onTestFinished(() => opened.close());
  const { core } = opened as unknown as { core: RoomCore };
  await core.change((draft) => {
    draft.saved = { ...draft.saved, genesis: Uint8Array.of(1) };
  });
  const fake = new FakeLink(() => ({ type: "done" }));
  const restore = refusing("UnknownError", (mode) => mode === "readwrite");
  await opened.attach(fake.link, newMemberKeys().sign.public);
  restore();
  expect([fake.isClosed, opened.alarms]).toEqual([true, ["vault.not_written"]]);
  expect(opened.saved.genesis).toBeDefined();
});

const KNOWN = new Uint8Array(2 * CHUNK_BYTES);
const plan = () => new File([KNOWN], "plan.txt");

test("a file goes on in the tab that took the vault, and is none of this one's any more", async () => {
  const { vault, id, core, outbox } = await room();
  const stuck = new FakeLink(({ type }) => (type === "blob_put" ? undefined : {}));
  core.link = stuck.link;
  core.isLive = true;
  const sending = new Uploads(core, outbox, NOBODY)
    .send(plan(), {})
    .catch((error: Error) => error.name);
  await expect.poll(() => stuck.of("blob_put")).toHaveLength(1);

  const there = await taken(vault, id);
  const quick = new FakeLink(() => ({ type: "done" }));
  there.core.link = quick.link;
  there.core.isLive = true;
  const carried = new Uploads(there.core, new Outbox(there.core), NOBODY);
  await expect.poll(() => carried.all()).toEqual([]);
  expect(quick.of("blob_put")).toHaveLength(2);
  expect(new Outbox(there.core).items()).toMatchObject([{ content: { name: "plan.txt" } }]);
  core.close();
  stuck.close();
  expect(["RoomOver", "VaultLocked"]).toContain(await sending);
});

test("one that is still read when another tab takes the vault is told of there, once", async () => {
  const { vault, id, core, outbox } = await room();
  let go: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  const slow: FileLike = {
    size: CHUNK_BYTES,
    type: "",
    name: "film.mkv",
    slice: () => ({ arrayBuffer: () => held.then(() => new ArrayBuffer(CHUNK_BYTES)) }) as Blob,
  };
  const uploads = new Uploads(core, outbox, NOBODY);
  const sending = uploads.send(slow, {}).catch((error: Error) => error.name);
  await expect.poll(() => vault.items(core.tables.uploads)).toHaveLength(1);
  const there = await taken(vault, id);
  go();
  expect(await sending).toBe("VaultLocked");
  const found = new Uploads(there.core, new Outbox(there.core), NOBODY).all();
  expect(found).toMatchObject([{ name: "film.mkv", problem: CLOSED_EARLY }]);
});
