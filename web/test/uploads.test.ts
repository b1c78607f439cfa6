/** Files on their way out: through closed pages, refusals and second thoughts. */

import "fake-indexeddb/auto";
import { expect, onTestFinished, test, vi } from "vitest";

import { BlobDrops } from "../src/client/blobdrops.ts";
import { amend, RoomCore } from "../src/client/core.ts";
import type { FileLike } from "../src/client/files.ts";
import { Outbox } from "../src/client/outbox.ts";
import { json } from "../src/client/saved.ts";
import { CLOSED_EARLY, Uploads } from "../src/client/uploads.ts";
import type { Vault } from "../src/client/vault.ts";
import { type FileContent, FileOpener } from "../src/e2e/attachments.ts";
import { hex } from "../src/protocol/bytes.ts";
import { CHUNK_BYTES } from "../src/protocol/limits.ts";
import type { Request } from "../src/wire/link.ts";
import { rowsOf } from "./databases.ts";
import { FakeLink, founded, refusal } from "./rooms.ts";

type Put = Extract<Request, { type: "blob_put" }>;
const MARK = "seeds and tools, nobody else's business\n";
const bytes = new Uint8Array(2 * CHUNK_BYTES + 100).map(
  (_, at) => MARK.charCodeAt(at % MARK.length) as number,
);
const file = () => new File([bytes], "plan.txt", { type: "text/plain" });

/** The page with a room, on a link that answers so. */
function page(vault: Vault, id: string, answers: (put: Put) => object | Error | undefined) {
  const core = new RoomCore(vault, id, () => undefined);
  onTestFinished(() => core.close());
  const outbox = new Outbox(core);
  const onGivenUp = vi.fn();
  const uploads = new Uploads(core, outbox, onGivenUp);
  const fake = new FakeLink((request) =>
    request.type === "blob_put" ? answers(request) : undefined,
  );
  core.link = fake.link;
  core.isLive = true;
  const drops = () =>
    vault.items(core.tables.drops).map(([id, raw]) => [id.slice(0, 32), json.read(raw)]);
  return {
    core,
    outbox,
    uploads,
    fake,
    onGivenUp,
    drops,
    puts: () => fake.of("blob_put") as Put[],
  };
}

/** What is waited for, and what ends the wait. */
function gate(): [Promise<void>, () => void] {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return [opened, () => open()];
}

/** All that IndexedDB holds of a vault. */
async function stored(vault: Vault): Promise<{ key: unknown; value: { sealed: Uint8Array } }[]> {
  const { database } = vault as unknown as { database: { name: string } };
  return (await rowsOf(database.name)) as { key: unknown; value: { sealed: Uint8Array } }[];
}
const pieces = async (vault: Vault) =>
  (await stored(vault)).filter(({ key }) => String(key).includes("upload"));

test("a file that was read goes on after the page was closed, and is what was chosen", async () => {
  const { vault, id } = await founded();
  const first = page(vault, id, ({ index }) => (index === 0 ? { type: "done" } : undefined));
  const sending = first.uploads.send(file(), { caption: "the plan" });
  sending.catch(() => undefined);
  await expect.poll(() => first.puts().length).toBe(2);
  expect(first.uploads.all()).toMatchObject([{ name: "plan.txt", problem: "" }]);
  for (const { value } of await stored(vault)) {
    expect(Buffer.from(value.sealed).includes(MARK)).toBe(false);
  }
  first.core.close();
  first.fake.close();

  const second = page(vault, id, () => ({ type: "done" }));
  expect(second.uploads.all()).toMatchObject([{ name: "plan.txt", problem: "" }]);
  await expect.poll(() => second.outbox.items().length).toBe(1);
  const content = second.outbox.items()[0]?.content as FileContent;
  expect([content.name, content.mime, content.caption]).toEqual([
    "plan.txt",
    "text/plain",
    "the plan",
  ]);
  const opener = new FileOpener(second.core.view.state.room, content);
  const whole = second.puts().map(({ chunk }) => opener.open(chunk));
  opener.finish();
  expect(Buffer.concat(whole).equals(Buffer.from(bytes))).toBe(true);
  expect([second.uploads.all(), await pieces(vault)]).toEqual([[], []]);
});

test("one whose page was closed while it was read is said to be lost, and leaves nothing", async () => {
  const { vault, id } = await founded();
  const first = page(vault, id, () => ({ type: "done" }));
  let reads = 0;
  const slow: FileLike = {
    size: 20 * CHUNK_BYTES,
    type: "",
    name: "film.mkv",
    slice: () => {
      reads += 1;
      const piece = new Blob([new Uint8Array(CHUNK_BYTES)]);
      const arrayBuffer = () => (reads > 10 ? new Promise(() => {}) : piece.arrayBuffer());
      return { arrayBuffer } as Blob;
    },
  };
  void first.uploads.send(slow, {}).catch(() => undefined);
  await expect.poll(() => reads).toBe(11);
  first.core.close();
  const second = page(vault, id, () => ({ type: "done" }));
  expect(second.uploads.all()).toMatchObject([{ name: "film.mkv", problem: CLOSED_EARLY }]);
  const [lost] = second.uploads.all();
  await second.uploads.drop(lost?.id as string);
  expect([second.uploads.all(), await pieces(vault), second.drops()]).toEqual([[], [], []]);
  expect(second.puts()).toEqual([]);
});

test.each(["quota", "too_large", "forbidden"])("refused by %s, it says why", async (code) => {
  const { vault, id } = await founded();
  const { uploads, outbox, drops, onGivenUp, puts, core } = page(vault, id, () => refusal(code));
  await expect(uploads.send(file(), {})).rejects.toThrow(code);
  expect(drops()).toEqual([[hex((puts()[0] as Put).blob), core.me]]);
  expect(onGivenUp).toHaveBeenCalledOnce();
  expect(uploads.all()).toMatchObject([{ problem: code }]);
  expect(await pieces(vault)).toEqual([]);
  expect(outbox.items()).toEqual([]);
});

test("what the relay can not take just now it is given again", async () => {
  const { vault, id } = await founded();
  let refused = false;
  const { uploads, outbox } = page(vault, id, () => {
    if (refused) return { type: "done" };
    refused = true;
    return refusal("storage_failed");
  });
  await uploads.send(file(), {});
  expect(outbox.items()).toHaveLength(1);
});

test("one that is stopped leaves nothing, here and in the room", async () => {
  const { vault, id } = await founded();
  const { uploads, outbox, puts, drops, onGivenUp, core } = page(vault, id, ({ index }) =>
    index === 0 ? { type: "done" } : undefined,
  );
  const sending = uploads.send(file(), {}).catch((error: Error) => error.name);
  await expect.poll(() => puts().length).toBe(2);
  await uploads.drop(uploads.all()[0]?.id as string);
  expect(drops()).toEqual([[hex((puts()[0] as Put).blob), core.me]]);
  expect(onGivenUp).toHaveBeenCalledOnce();
  expect([uploads.all(), await pieces(vault), outbox.items()]).toEqual([[], [], []]);
  void sending;
});

test("nothing is stored behind the drop of one that is stopped while it waits for the relay", async () => {
  const { vault, id } = await founded();
  const { uploads, fake, puts, core } = page(vault, id, () => refusal("rate_limited"));
  const drops = new BlobDrops(core);
  const sending = uploads.send(file(), {}).catch((error: Error) => error.name);
  await expect.poll(() => puts().length).toBe(1);
  await uploads.drop(uploads.all()[0]?.id as string);
  drops.check();
  expect(await sending).toBe("AbortError");
  expect(fake.asked.map(({ type }) => type)).toEqual(["blob_put", "blob_drop"]);
});

test("one that is stopped just before its message is queued is not sent", async () => {
  const { vault, id } = await founded();
  const done = { type: "done" };
  const [lastAnswer, answerLast] = gate();
  const { uploads, outbox, puts, core, drops } = page(vault, id, ({ index }) =>
    index === 2 ? lastAnswer.then(() => done) : done,
  );
  const sending = uploads.send(file(), {}).catch((error: Error) => error.name);
  await expect.poll(() => puts().length).toBe(3);
  const [held, letGo] = gate();
  const busy = core.change(() => held);
  answerLast();
  await expect.poll(() => uploads.all()[0]?.done).toBe(1);
  const dropped = uploads.drop(uploads.all()[0]?.id as string);
  letGo();
  await Promise.all([busy, dropped]);
  expect([await sending, outbox.items()]).toEqual(["AbortError", []]);
  expect(drops()).toEqual([[hex((puts()[0] as Put).blob), core.me]]);
});

test("once one is out of the room, what was on its way says so, and is kept no longer", async () => {
  const { vault, id } = await founded();
  const { uploads, core, puts, drops } = page(vault, id, () => undefined);
  void uploads.send(file(), {}).catch(() => undefined);
  await expect.poll(() => puts().length).toBe(1);
  await core.change((draft) => amend(draft, { status: "removed" }));
  await uploads.giveUp();
  expect(uploads.all()).toMatchObject([{ problem: "out_gone" }]);
  expect(drops()).toEqual([]); // nobody could ask for it
  expect(await pieces(vault)).toEqual([]);
  const later = page(vault, id, () => undefined);
  expect(later.uploads.all()).toEqual([]);
});

test("one that is refused to who was evicted is kept for now, and goes on once that came to nothing", async () => {
  const { vault, id } = await founded();
  const [asked, answer] = gate();
  const first = page(vault, id, () => asked.then(() => refusal("evicted")) as never);
  const sending = first.uploads.send(file(), {}).catch((error: Error) => error.message);
  await expect.poll(() => first.puts().length).toBe(1);
  const out = first.core.change((draft) => amend(draft, { status: "removed", reason: "evicted" }));
  answer(); // behind what evicts
  await out;
  expect(await sending).toContain("evicted");
  await first.uploads.giveUp(true);
  expect(first.uploads.all()).toMatchObject([{ problem: "out_gone" }]);
  expect([first.drops(), (await pieces(vault)).length]).toEqual([[], 4]);
  await first.core.change((draft) => amend(draft, { status: "active", reason: "" }));
  first.core.close();

  // By a new invite it is another member who is back: that one says it anew, or not.
  const second = page(vault, id, () => ({ type: "done" }));
  expect(second.uploads.all()).toMatchObject([{ problem: "out_gone" }]);
  expect(second.puts()).toEqual([]);
  await second.uploads.resume();
  await expect.poll(() => second.outbox.items().length).toBe(1);
  expect([second.puts().length, second.uploads.all(), await pieces(vault)]).toEqual([3, [], []]);
});

test("a file that is too large, or changes while it is read, is not begun", async () => {
  const { vault, id } = await founded();
  const { uploads, puts } = page(vault, id, () => ({ type: "done" }));
  const huge = { size: 2 ** 40, type: "", slice: () => new Blob() };
  await expect(uploads.send(huge, { name: "huge" })).rejects.toThrow(/240 MiB/);
  const shrunk = { size: 100, type: "", slice: () => new Blob(["x"]) };
  await expect(uploads.send(shrunk, { name: "log" })).rejects.toThrow(/changed its size/);
  expect(puts()).toEqual([]);
  expect(await pieces(vault)).toEqual([]);
});
