/**
 * The database under the vault: opened, and opened anew where a browser has closed it (as some do
 * while a device sleeps), with its failures as `VaultError`. What a person wants gone stays gone: a
 * database that was removed is not made again.
 */

import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB } from "idb";

import { VaultError, VaultFull, VaultLocked } from "./faults.ts";

const FORMAT = 1;

export interface Stored {
  readonly version: number;
  readonly sealed: Uint8Array;
}

interface Schema extends DBSchema {
  meta: { key: string; value: Uint8Array };
  records: { key: [table: string, id: string]; value: Stored };
}

type Opened = IDBPDatabase<Schema>;
type Name = "meta" | "records";
const ALL: Name[] = ["meta", "records"];
export type Transaction<M extends IDBTransactionMode> = IDBPTransaction<Schema, Name[], M>;
/** Ask for something, which fails with the whole transaction or not at all. */
export type Ask = (request: Promise<unknown>) => void;

/**
 * Why it can not be used here any more: opened elsewhere, removed by its person, thrown away by the
 * browser, or written by a turn that was told to have failed.
 */
export type Ending = "taken" | "forgotten" | "evicted" | "doubtful";

export class Database {
  private opened: Promise<Opened> | undefined;
  private isOver = false;
  /** It was open once, and so is not to be made any more. */
  private wasThere = false;
  /** Called once, when it can not be used here any more. */
  onEnded: (why: Ending) => void = () => undefined;

  /** `mayMake`: it is made if it is not there. */
  constructor(
    private readonly name: string,
    private readonly mayMake = false,
  ) {}

  /** What `act` finds, all of it at one moment; rejects with `VaultError`. */
  read<T>(act: (tx: Transaction<"readonly">) => Promise<T>): Promise<T> {
    return this.patiently("not_read", (database) => {
      const tx = database.transaction(ALL);
      return settled(tx, () => act(tx));
    });
  }

  /**
   * All that `act` asks for, durably, or nothing of it; rejects with `VaultError`. It is called again
   * where the connection is lost, also after it was written: it has to look first.
   */
  write(act: (tx: Transaction<"readwrite">, ask: Ask) => Promise<void>): Promise<void> {
    return this.patiently("not_written", (database) => {
      const tx = database.transaction(ALL, "readwrite", { durability: "strict" });
      return settled(tx, () => act(tx, ignored));
    });
  }

  /** It is not used any more, and keeps nobody from removing it. */
  close(): void {
    this.isOver = true;
    if (this.opened !== undefined) this.drop(this.opened);
  }

  /** It is another's, or gone. */
  end(why: Ending): void {
    if (this.isOver) return;
    this.close();
    this.onEnded(why);
  }

  private async patiently<T>(
    fault: "not_read" | "not_written",
    act: (database: Opened) => Promise<T>,
  ): Promise<T> {
    for (let isAgain = false; ; isAgain = true) {
      if (this.isOver) throw new VaultLocked();
      this.opened ??= this.open();
      const { opened } = this;
      try {
        return await act(await opened);
      } catch (error) {
        if (!(error instanceof DOMException)) throw error;
        if (this.isOver) throw new VaultLocked();
        if (error.name === "QuotaExceededError") throw new VaultFull();
        this.drop(opened);
        if (isAgain) throw new VaultError(fault, `the browser's database fails: ${error.name}`);
      }
    }
  }

  /** Another attempt may have opened the next one by now. */
  private drop(opened: Promise<Opened>): void {
    if (this.opened === opened) this.opened = undefined;
    opened.then(
      (database) => database.close(),
      () => undefined,
    );
  }

  private async open(): Promise<Opened> {
    let isMissing = false;
    try {
      const opened = await openDB<Schema>(this.name, FORMAT, {
        upgrade: (database, _before, _now, tx) => {
          isMissing = this.wasThere || !this.mayMake;
          if (isMissing) abort(tx);
          else for (const name of ALL) database.createObjectStore(name);
        },
        blocking: (_now, next, event) => {
          (event.target as IDBDatabase).close(); // it would wait for this one
          this.end(next === null ? "forgotten" : "taken");
        },
        terminated: () => {
          if (this.opened !== undefined) this.drop(this.opened);
          void this.read(async () => undefined).catch(() => undefined); // is it there still?
        },
      });
      this.wasThere = true;
      return opened;
    } catch (error) {
      if (!isMissing) throw error;
      this.end("evicted");
      if (this.wasThere) throw new VaultLocked();
      throw new VaultError("missing", "there is no vault in this browser yet");
    }
  }
}

/** Its requests fail with it, and its own end is looked at. */
const ignored: Ask = (request) => void request.catch(() => undefined);

interface Ended {
  /** Why the browser has aborted it, if it has. */
  readonly error: DOMException | null;
  readonly done: Promise<void>;
  abort(): void;
}

function abort(tx: Ended): void {
  tx.done.catch(() => undefined);
  try {
    tx.abort();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // it has ended by itself
  }
}

/** What `act` makes of a transaction, once that is done. */
async function settled<T>(tx: Ended, act: () => Promise<T>): Promise<T> {
  try {
    const found = await act();
    await tx.done;
    return found;
  } catch (error) {
    abort(tx); // what it was asked for by then goes too
    await tx.done.catch(() => undefined);
    throw tx.error ?? error;
  }
}

/**
 * Remove a database for good; `onBlocked` is called if another tab that hears nothing keeps it from
 * going: it is empty by then, and goes once that tab is closed. Rejects with `VaultError`.
 */
export async function remove(name: string, onBlocked: () => void): Promise<void> {
  await empty(name);
  await new Promise<void>((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = () => resolve();
    request.onblocked = onBlocked;
    request.onerror = () => reject(new VaultError("not_removed", "the vault could not be removed"));
  });
}

async function empty(name: string): Promise<void> {
  const database = new Database(name);
  try {
    await database.write(async (tx, ask) => {
      for (const each of ALL) ask(tx.objectStore(each).clear());
    });
  } catch (error) {
    if (!(error instanceof VaultError)) throw error; // it is removed whole, whatever is wrong with it
  } finally {
    database.close();
  }
}
