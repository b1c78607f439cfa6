/** A browser that closes, loses, fills or throws away the vault's database: nothing is lost by it. */

import "fake-indexeddb/auto";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";

import { Turn, Vault, VaultError, VaultFull, VaultLocked } from "../src/client/vault.ts";
import { utf8 } from "../src/protocol/bytes.ts";
import { connections, names, refusing, rowsOf } from "./databases.ts";
import { newVault } from "./rooms.ts";

const ARCHIVED = "archive/room";

async function put(vault: Vault, id: string, words: string): Promise<void> {
  const turn = new Turn(vault);
  turn.put("rooms", id, utf8(words));
  turn.put(ARCHIVED, id, utf8(words));
  await vault.commit(turn);
}

const words = (raw: Uint8Array | undefined) => raw && new TextDecoder().decode(raw);
const archived = async (vault: Vault) =>
  (await vault.archived(ARCHIVED, { limit: 9 })).map(([, raw]) => words(raw));

describe("a vault whose connection", () => {
  let there: ReturnType<typeof connections>;
  let vault: Vault;
  const ended = vi.fn();

  beforeEach(async () => {
    there = connections();
    vault = await newVault();
    vault.onEnded = ended.mockReset();
    await put(vault, "a", "one");
    return async () => {
      await vault.close();
      there.restore();
    };
  });

  test("the browser has closed goes on by itself, and nobody is blamed", async () => {
    there.lose();
    await put(vault, "b", "two");
    there.lose();
    expect(await archived(vault)).toEqual(["one", "two"]);
    there.lose();
    expect(words(await vault.fetch(ARCHIVED, "a"))).toBe("one");
    expect(ended).not.toHaveBeenCalled();
  });

  test("is lost in the middle of a turn has all of it, once", async () => {
    const writing = put(vault, "b", "two");
    await expect.poll(() => there.opened).not.toEqual([]);
    there.lose();
    await writing;
    await put(vault, "c", "three");
    expect(await archived(vault)).toEqual(["one", "two", "three"]);
    expect(ended).not.toHaveBeenCalled();
  });

  test("is lost before it could say that a turn was written writes it no second time", async () => {
    const undo = endingInAbort();
    await put(vault, "b", "two");
    expect(undo()).toBe(1);
    await put(vault, "c", "three");
    expect(await archived(vault)).toEqual(["one", "two", "three"]);
    expect(ended).not.toHaveBeenCalled();
  });

  test("fails after a turn was written says so by the next one, and blames no other tab", async () => {
    const name = (await names()).at(-1) as string;
    const { dek } = vault as unknown as { dek: Uint8Array };
    const restore = endingInAbort(true);
    await expect(put(vault, "b", "two")).rejects.toMatchObject({ fault: "not_written" });
    await expect(put(vault, "c", "three")).rejects.toMatchObject({ fault: "not_written" });
    expect(restore()).toBe(1);
    await expect(put(vault, "b", "two")).rejects.toThrow(VaultLocked);
    expect(ended.mock.calls).toEqual([["doubtful"]]);
    const again = await Vault.openWith(name, dek.slice());
    onTestFinished(() => again.close());
    expect(await archived(again)).toEqual(["one", "two"]);
  });

  test.each(["InvalidStateError", "UnknownError", "AbortError"])(
    "always fails by %s says what to do, and goes on once it can",
    async (name) => {
      const restore = refusing(name);
      const fault = (which: string) => expect.objectContaining({ fault: which });
      await expect(put(vault, "b", "two")).rejects.toEqual(fault("not_written"));
      await expect(archived(vault)).rejects.toEqual(fault("not_read"));
      await expect(vault.fetch(ARCHIVED, "a")).rejects.toEqual(fault("not_read"));
      restore();
      await put(vault, "c", "three");
      expect(await archived(vault)).toEqual(["one", "three"]);
    },
  );

  test("finds no room for what was asked of it says so, and goes on once there is some", async () => {
    const full = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementationOnce(function (
      this: IDBObjectStore,
    ) {
      const ending = this.transaction as unknown as { _abort(error: string): void };
      ending._abort("QuotaExceededError");
      return new IDBRequest();
    } as never);
    await expect(put(vault, "b", "two")).rejects.toThrow(VaultFull);
    full.mockRestore();
    await put(vault, "c", "three");
    expect(await archived(vault)).toEqual(["one", "three"]);
  });

  test("goes with the database itself does not make it anew: its person may have wanted that", async () => {
    const mine = (await names()).at(-1) as string;
    await there.evict(mine);
    await expect(put(vault, "b", "two")).rejects.toThrow(VaultLocked);
    await expect(archived(vault)).rejects.toThrow(VaultLocked);
    expect(await names()).not.toContain(mine);
    expect(ended.mock.calls).toEqual([["evicted"]]);
  });

  test("was lost while another tab took the vault writes nothing more", async () => {
    const name = (await names()).at(-1) as string;
    const { dek } = vault as unknown as { dek: Uint8Array };
    there.lose();
    const other = await Vault.openWith(name, dek.slice());
    onTestFinished(() => other.close());
    await expect(put(vault, "b", "two")).rejects.toThrow(VaultLocked);
    expect(ended.mock.calls).toEqual([["taken"]]);
  });
});

/** The next turn is told to have failed once it is done, and `refuses` all after it; how many were. */
function endingInAbort(refuses = false): () => number {
  let count = 0;
  const { transaction } = IDBDatabase.prototype;
  const spy = vi.spyOn(IDBDatabase.prototype, "transaction");
  spy.mockImplementation(function (this: IDBDatabase, ...args) {
    if (count > 0 && refuses) throw new DOMException("refused", "UnknownError");
    const made = transaction.apply(this, args);
    if (made.mode !== "readwrite" || count > 0) return made;
    count += 1;
    const { addEventListener } = made;
    const told = (type: string, heard: (event: Event) => void) => {
      if (type === "complete") return;
      addEventListener.call(made, type === "abort" ? "complete" : type, heard);
    };
    return Object.assign(made, { addEventListener: told });
  });
  return () => {
    spy.mockRestore();
    return count;
  };
}

describe("of two tabs", () => {
  test("that make a vault at once one has made it, and its keys are whole", async () => {
    const both = await Promise.allSettled([
      Vault.create("both", "the first phrase"),
      Vault.create("both", "the second phrase"),
    ]);
    const [made] = both.filter((one) => one.status === "fulfilled");
    const [failed] = both.filter((one) => one.status === "rejected");
    expect(failed?.reason).toMatchObject({ fault: "there" });
    const phrase = both[0] === made ? "the first phrase" : "the second phrase";
    await put(made?.value as Vault, "a", "one");
    await made?.value.close();
    const again = await Vault.open("both", phrase);
    expect(words(again.get("rooms", "a"))).toBe("one");
    await again.close();
  });

  test("one that sleeps keeps what is forgotten from nobody: it is empty at once, and told of", async () => {
    const vault = await Vault.create("slept", "so geheim");
    await put(vault, "a", "one");
    await vault.close();
    const asleep = await new Promise<IDBDatabase>((resolve) => {
      const request = indexedDB.open("slept");
      request.onsuccess = () => resolve(request.result);
    });
    const blocked = vi.fn(async () => {
      const rows = asleep.transaction("records").objectStore("records").getAll();
      rows.onsuccess = () => {
        expect(rows.result).toEqual([]);
        asleep.close();
      };
    });
    await Vault.forget("slept", blocked);
    expect(blocked).toHaveBeenCalledOnce();
    expect(await names()).not.toContain("slept");
  });
});

test("to look whether there is a vault leaves nothing behind", async () => {
  expect(await Vault.exists("nothing")).toBe(false);
  await expect(Vault.keyOf("nothing", "so geheim")).rejects.toThrow(VaultError);
  expect(await names()).not.toContain("nothing");
});

test("what is archived and what is not is written at one moment", async () => {
  const there = connections();
  onTestFinished(there.restore);
  const vault = await newVault();
  await put(vault, "a", "one");
  const name = (await names()).at(-1) as string;
  const before = await rowsOf(name);
  const restore = refusing("UnknownError", (mode) => mode === "readwrite");
  await expect(put(vault, "a", "two")).rejects.toThrow(VaultError);
  restore();
  expect(await rowsOf(name)).toEqual(before);
  await vault.close();
});
