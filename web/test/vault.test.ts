/** The vault keeps what it was given, gives it to nobody else, and notices what was changed. */

import "fake-indexeddb/auto";
import { openDB } from "idb";
import { beforeEach, describe, expect, test, vi } from "vitest";

import {
  Turn,
  Vault,
  VaultDamaged,
  VaultError,
  VaultFull,
  VaultLocked,
  WrongPassphrase,
} from "../src/client/vault.ts";
import { hex, utf8 } from "../src/protocol/bytes.ts";

let name: string;
let count = 0;
beforeEach(() => {
  count += 1;
  name = `tested-${count}`;
});

async function put(vault: Vault, table: string, records: Record<string, string>): Promise<void> {
  const turn = new Turn(vault);
  for (const [id, value] of Object.entries(records)) turn.put(table, id, utf8(value));
  await vault.commit(turn);
}

const texts = (items: [string, Uint8Array][]) =>
  items.map(([id, value]) => [id, new TextDecoder().decode(value)]);

async function reopened(vault: Vault): Promise<Vault> {
  vault.close();
  return Vault.open(name, "so geheim");
}

describe("a vault", () => {
  test("has after a reload what was committed", async () => {
    const vault = await Vault.create(name, "so geheim");
    await put(vault, "rooms", { a: "one", b: "two", empty: "" });
    const turn = new Turn(vault);
    turn.delete("rooms", "a");
    await vault.commit(turn);
    expect(texts((await reopened(vault)).items("rooms"))).toEqual([
      ["b", "two"],
      ["empty", ""],
    ]);
  });

  test("shows a turn its own writes, and nobody else before the commit", async () => {
    const vault = await Vault.create(name, "so geheim");
    await put(vault, "rooms", { a: "one" });
    const turn = new Turn(vault);
    turn.put("rooms", "b", utf8("two"));
    turn.delete("rooms", "a");
    expect(texts(turn.items("rooms"))).toEqual([["b", "two"]]);
    expect(turn.get("rooms", "a")).toBeUndefined();
    expect(texts(vault.items("rooms"))).toEqual([["a", "one"]]);
  });

  test("opens with its passphrase alone", async () => {
    const vault = await Vault.create(name, "so geheim");
    vault.close();
    await expect(Vault.open(name, "geheim")).rejects.toThrow(WrongPassphrase);
    await expect(Vault.create(name, "x")).rejects.toThrow(VaultError);
    const opened = await Vault.open(name, "so geheim");
    await opened.changePassphrase("another");
    opened.close();
    await expect(Vault.open(name, "so geheim")).rejects.toThrow(WrongPassphrase);
    (await Vault.open(name, "another")).close();
  });

  test("is gone once it is forgotten", async () => {
    (await Vault.create(name, "so geheim")).close();
    expect(await Vault.exists(name)).toBe(true);
    await Vault.forget(name);
    expect(await Vault.exists(name)).toBe(false);
  });

  test("is the tab's that opened it last: one that slept meanwhile writes nothing more", async () => {
    const slept = await Vault.create(name, "so geheim");
    const heard = vi.fn();
    slept.onEnded = heard;
    await put(slept, "rooms", { a: "one" });
    const awake = await Vault.open(name, "so geheim");
    await expect(put(slept, "rooms", { a: "stale" })).rejects.toThrow(VaultLocked);
    expect(heard).toHaveBeenCalledOnce();
    await put(awake, "rooms", { b: "two" });
    await expect(put(slept, "rooms", { a: "stale" })).rejects.toThrow(VaultLocked);
    await awake.close();
    const whole = await Vault.open(name, "so geheim");
    expect(texts(whole.items("rooms"))).toEqual([
      ["a", "one"],
      ["b", "two"],
    ]);
    await whole.close();
  });

  test("that is forgotten in one tab is gone in another, which does not keep it from going", async () => {
    const vault = await Vault.create(name, "so geheim");
    const heard = vi.fn();
    vault.onEnded = heard;
    await Vault.forget(name);
    expect(heard.mock.calls).toEqual([["forgotten"]]);
    await expect(put(vault, "rooms", { a: "one" })).rejects.toThrow(VaultLocked);
    expect(await Vault.exists(name)).toBe(false);
  });

  test("without room for all of a turn takes nothing of it, and goes on once there is some", async () => {
    const vault = await Vault.create(name, "so geheim");
    await put(vault, "rooms", { a: "one" });
    const put_ = IDBObjectStore.prototype.put;
    let left = 1;
    const full = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(function (
      this: IDBObjectStore,
      ...args
    ) {
      left -= 1;
      if (left < 0) throw new DOMException("no more", "QuotaExceededError");
      return put_.apply(this, args);
    });
    await expect(put(vault, "rooms", { a: "two", b: "two" })).rejects.toThrow(VaultFull);
    full.mockRestore();
    expect(texts(vault.items("rooms"))).toEqual([["a", "one"]]);
    await put(vault, "rooms", { c: "three" });
    expect(texts((await reopened(vault)).items("rooms"))).toEqual([
      ["a", "one"],
      ["c", "three"],
    ]);
  });

  test("without room for anything opens to be read, and is its own once there is some", async () => {
    const before = await Vault.create(name, "so geheim");
    await put(before, "rooms", { a: "one" });
    await put(before, "archive/a", { 1: "said" });
    const full = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
      throw new DOMException("no more", "QuotaExceededError");
    });
    const vault = await Vault.open(name, "so geheim");
    expect(texts(vault.items("rooms"))).toEqual([["a", "one"]]);
    expect(texts(await vault.archived("archive/a", { limit: 9 }))).toEqual([["1", "said"]]);
    await expect(put(vault, "rooms", { b: "two" })).rejects.toThrow(VaultFull);
    full.mockRestore();
    await put(vault, "rooms", { b: "two" });
    await expect(put(before, "rooms", { c: "old" })).rejects.toThrow(VaultLocked);
    expect(texts((await reopened(vault)).items("rooms"))).toEqual([
      ["a", "one"],
      ["b", "two"],
    ]);
  });

  test("that is locked while somebody reads says that it is locked, and not that it was changed", async () => {
    const vault = await Vault.create(name, "so geheim");
    await put(vault, "archive/room", { a: "one", b: "two" });
    const reading = vault.archived("archive/room", { limit: 2 });
    await Promise.all([vault.close(), expect(reading).rejects.toThrow(VaultLocked)]);
    await expect(vault.archived("archive/room", { limit: 2 })).rejects.toThrow(VaultLocked);
  });

  test("pages through an archive from its end", async () => {
    const vault = await Vault.create(name, "so geheim");
    const ids = Array.from({ length: 10 }, (_, index) => String(index).padStart(4, "0"));
    await put(vault, "archive/room", Object.fromEntries(ids.map((id) => [id, `text ${id}`])));
    await put(vault, "archive/rooms", { "9999": "of another table" });
    const last = await vault.archived("archive/room", { limit: 3 });
    expect(texts(last).map(([id]) => id)).toEqual(["0007", "0008", "0009"]);
    const before = await vault.archived("archive/room", { before: "0007", limit: 100 });
    expect(texts(before)).toHaveLength(7);
  });

  test("holds no word in clear", async () => {
    const vault = await Vault.create(name, "so geheim");
    await put(vault, "rooms", { a: "a marker word" });
    await put(vault, "archive/room", { a: "a marker word" });
    const database = await openDB(name);
    const all = JSON.stringify(
      (await database.getAll("records")).map((row) => hex(row.sealed as Uint8Array)),
    );
    expect(all).not.toContain(hex(utf8("marker")));
    expect(hex((await database.get("meta", "key")) as Uint8Array)).not.toContain(
      hex(utf8("geheim")),
    );
  });
});

describe("a change from outside is noticed", () => {
  async function meddle(change: (row: { version: number; sealed: Uint8Array }) => unknown) {
    const vault = await Vault.create(name, "so geheim");
    await put(vault, "rooms", { a: "one", b: "other" });
    const database = await openDB(name);
    const early = await database.get("records", ["rooms", "a"]);
    await put(vault, "rooms", { a: "two" });
    const changed = change(early);
    if (changed === undefined) await database.delete("records", ["rooms", "a"]);
    else await database.put("records", changed, ["rooms", "a"]);
    vault.close();
    database.close();
  }

  test.each<[string, (row: { version: number; sealed: Uint8Array }) => unknown]>([
    ["an old record put back", (row) => row],
    ["an old record under the new version", (row) => ({ ...row, version: 2 })],
    ["a record removed", () => undefined],
    ["a byte flipped", (row) => ({ version: 2, sealed: row.sealed.map((byte) => byte ^ 1) })],
  ])("%s", async (_, change) => {
    await meddle(change);
    await expect(Vault.open(name, "so geheim")).rejects.toThrow(VaultDamaged);
  });
});
