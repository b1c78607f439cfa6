/** What browsers do to databases, done to those of a test. */

import { forceCloseDatabase } from "fake-indexeddb";
import { deleteDB, openDB } from "idb";
import { vi } from "vitest";

/** All rows of a database, as they lie there. */
export async function rowsOf(name: string): Promise<{ key: unknown; value: unknown }[]> {
  const database = await openDB(name);
  const [keys, values] = [await database.getAllKeys("records"), await database.getAll("records")];
  database.close();
  return keys.map((key, at) => ({ key, value: values[at] }));
}

/** The names of all databases there are. */
export const names = async () => (await indexedDB.databases()).map(({ name }) => name);

/** Collects the connections that are opened from now on. */
export function connections() {
  const opened: IDBDatabase[] = [];
  const { open } = IDBFactory.prototype;
  const spy = vi.spyOn(IDBFactory.prototype, "open").mockImplementation(function (
    this: IDBFactory,
    ...args
  ) {
    const request = open.apply(this, args);
    request.addEventListener("success", () => opened.push(request.result));
    return request;
  });
  return {
    opened,
    /** The browser closes them, as it does where its storage fails or is taken from it. */
    lose: () => {
      for (const one of opened.splice(0)) forceCloseDatabase(one as never);
    },
    /** The browser throws the database away, with all in it. */
    evict: async (name: string) => {
      for (const one of opened.splice(0)) one.close();
      await deleteDB(name);
    },
    restore: () => spy.mockRestore(),
  };
}

/** Until it is undone, the browser refuses each transaction that this holds of. */
export function refusing(error: string, holds: (mode: string) => boolean = () => true): () => void {
  const { transaction } = IDBDatabase.prototype;
  const spy = vi.spyOn(IDBDatabase.prototype, "transaction").mockImplementation(function (
    this: IDBDatabase,
    ...args
  ) {
    if (holds(args[1] ?? "readonly")) throw new DOMException("refused", error);
    return transaction.apply(this, args);
  });
  return () => spy.mockRestore();
}
