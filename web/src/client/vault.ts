/**
 * The vault: this browser's keys, rooms and history in IndexedDB, encrypted at rest.
 *
 * A random key (DEK) seals every record, bound to its table, id and version; the DEK is sealed under
 * the passphrase (docs/protocol.md, and ofcd/client/vault.py, whose promises these are). State
 * tables are held open in memory, so that a turn of the core is synchronous; `commit` writes all of
 * a turn in one IndexedDB transaction, and nothing is sent before. A sealed top record holds the
 * versions of all state records: one put back, or removed, is noticed. Tables that begin with
 * `archive/` are read from the disk and not pinned. What can not be noticed is the whole database
 * put back to an earlier state.
 *
 * Whoever opens it has it from then on: to open counts as a commit, and a commit that does not follow
 * the one before it is refused. A tab that slept while another one took the vault writes nothing more.
 */

import { concat, equal, fromUtf8, u32be, utf8 } from "../protocol/bytes.ts";
import { taggedHash } from "../protocol/ids.ts";
import {
  CannotOpen,
  generateKey,
  KEY_BYTES,
  seal,
  sealWithPassphrase,
  unseal,
  unsealWithPassphrase,
} from "../themis/index.ts";
import { Database, type Ending, remove, type Stored, type Transaction } from "./database.ts";
import { VaultDamaged, VaultError, VaultFull, VaultLocked, WrongPassphrase } from "./faults.ts";

export * from "./faults.ts";
export type { Ending };

export const ARCHIVE = "archive/";
const TOP = "#top";
/** So many failed turns are remembered. */
const DOUBTS = 8;
const KEY = "key";

/** Tables of records by id, to read: a vault, or a turn on it. */
export interface Reader {
  get(table: string, id: string): Uint8Array | undefined;
  /** The records of a state table, by id. */
  items(table: string): [id: string, value: Uint8Array][];
}

/** What one turn reads and writes; it sees its own writes. */
export class Turn implements Reader {
  readonly writes = new Map<string, Map<string, Uint8Array | undefined>>();

  constructor(private readonly vault: Reader) {}

  get(table: string, id: string): Uint8Array | undefined {
    const written = this.writes.get(table);
    return written?.has(id) ? written.get(id) : this.vault.get(table, id);
  }

  items(table: string): [string, Uint8Array][] {
    const found = new Map<string, Uint8Array | undefined>(this.vault.items(table));
    for (const [id, value] of this.writes.get(table) ?? []) found.set(id, value);
    const there = [...found].filter((item): item is [string, Uint8Array] => item[1] !== undefined);
    return there.sort(([one], [other]) => (one < other ? -1 : 1));
  }

  put(table: string, id: string, value: Uint8Array): void {
    this.write(table, id, value);
  }

  delete(table: string, id: string): void {
    this.write(table, id, undefined);
  }

  private write(table: string, id: string, value: Uint8Array | undefined): void {
    const written = this.writes.get(table) ?? new Map<string, Uint8Array | undefined>();
    this.writes.set(table, written.set(id, value));
  }
}

type Versions = Map<string, number>;

const address = (table: string, id: string) => `${table}\u0000${id}`;
const context = (table: string, id: string, version: number) =>
  taggedHash("rec", utf8(table), utf8(id), version);

export class Vault implements Reader {
  private readonly tables = new Map<string, Map<string, Uint8Array>>();
  private versions: Versions = new Map();
  private commits = 0;
  /** The tops of turns that failed since the last one was written: one may be there all the same. */
  private doubtful: Uint8Array[] = [];
  private queue: Promise<void> = Promise.resolve();
  private closed = false;

  private constructor(
    private readonly database: Database,
    private readonly dek: Uint8Array,
  ) {}

  /** `told` is called once another tab has the vault, or it is gone. */
  set onEnded(told: (why: Ending) => void) {
    this.database.onEnded = told;
  }

  /** Whether there is a vault of this name in this browser. */
  static async exists(name: string): Promise<boolean> {
    return (await wrappedKey(name)) !== undefined;
  }

  /** A new vault; throws `VaultError` if there is one. */
  static async create(name: string, passphrase: string): Promise<Vault> {
    const database = new Database(name, true);
    const vault = new Vault(database, generateKey());
    const top = vault.sealedTop(0, new Map());
    const wrapped = sealWithPassphrase(passphrase, vault.dek);
    await orClosed(database, () =>
      database.write(async (tx, ask) => {
        // Looked at in the transaction that writes it: two tabs may be at it.
        const there = await tx.objectStore("meta").get(KEY);
        if (there !== undefined && equal(there, wrapped)) return; // written by the last attempt
        if (there !== undefined) {
          throw new VaultError("there", "there already is a vault in this browser");
        }
        ask(tx.objectStore("meta").put(wrapped, KEY));
        ask(tx.objectStore("records").put({ version: 0, sealed: top }, [TOP, ""]));
      }),
    );
    return vault;
  }

  /** An existing vault; throws `WrongPassphrase`, `VaultDamaged`. */
  static async open(name: string, passphrase: string): Promise<Vault> {
    return Vault.openWith(name, await Vault.keyOf(name, passphrase));
  }

  /** The key that a vault's passphrase opens; throws `WrongPassphrase`. Others may be using it. */
  static async keyOf(name: string, passphrase: string): Promise<Uint8Array> {
    const wrapped = await wrappedKey(name);
    if (wrapped === undefined)
      throw new VaultError("missing", "there is no vault in this browser yet");
    return unwrapped(wrapped, passphrase);
  }

  /** A vault by its key, which it keeps; who had it open writes no more. Throws `VaultDamaged`. */
  static async openWith(name: string, key: Uint8Array): Promise<Vault> {
    const database = new Database(name);
    const vault = new Vault(database, key);
    await orClosed(database, () => vault.load());
    return vault;
  }

  /**
   * Forget everything: keys, rooms, history. There is no way back. `onBlocked` is called if a tab
   * that sleeps keeps what is empty by then from being removed; it is settled once that is closed.
   */
  static forget(name: string, onBlocked: () => void = () => undefined): Promise<void> {
    return remove(name, onBlocked);
  }

  /** Lock: drop what is held open in memory; settled once what was under way is written. */
  async close(): Promise<void> {
    this.closed = true;
    this.tables.clear();
    await this.queue;
    this.dek.fill(0);
    this.database.close();
  }

  get(table: string, id: string): Uint8Array | undefined {
    return this.tables.get(table)?.get(id);
  }

  items(table: string): [string, Uint8Array][] {
    const found = [...(this.tables.get(table) ?? [])];
    return found.sort(([one], [other]) => (one < other ? -1 : 1));
  }

  /** Records of an archive table with `from` <= id, the newest `limit` of those before `before`. */
  async archived(
    table: string,
    { before, limit }: { before?: string; limit: number },
  ): Promise<[string, Uint8Array][]> {
    if (this.closed) throw new VaultLocked();
    const upper = before === undefined ? [table, []] : [table, before];
    // An array sorts behind every string: all ids of the table.
    const range = IDBKeyRange.bound([table], upper as IDBValidKey, false, true);
    return this.database.read(async (tx) => {
      const found: [string, Uint8Array][] = [];
      let cursor = await tx.objectStore("records").openCursor(range, "prev");
      while (cursor !== null && found.length < limit) {
        const [, id] = cursor.key;
        found.push([id, this.unsealed(table, id, cursor.value)]);
        cursor = await cursor.continue();
      }
      return found.reverse();
    });
  }

  /** One record, of an archive table too. */
  async fetch(table: string, id: string): Promise<Uint8Array | undefined> {
    if (!table.startsWith(ARCHIVE)) return this.get(table, id);
    const stored = await this.database.read((tx) => tx.objectStore("records").get([table, id]));
    return stored && this.unsealed(table, id, stored);
  }

  /** Write all of a turn, durably, or nothing of it; turns are written in the order of the calls. */
  commit(turn: Turn): Promise<void> {
    if (this.closed) return Promise.reject(new VaultLocked());
    const done = this.queue.then(() => this.write(turn));
    this.queue = done.catch(() => undefined);
    return done;
  }

  async changePassphrase(passphrase: string): Promise<void> {
    const wrapped = sealWithPassphrase(passphrase, this.dek);
    await this.database.write(async (tx, ask) => ask(tx.objectStore("meta").put(wrapped, KEY)));
  }

  private async write(turn: Turn): Promise<void> {
    if (turn.writes.size === 0) return;
    const version = this.commits + 1;
    const versions = new Map(this.versions);
    const rows: [key: [string, string], row: Stored | undefined][] = [];
    for (const [table, records] of turn.writes) {
      for (const [id, value] of records) {
        rows.push([[table, id], value && this.sealed(table, id, version, value)]);
        if (!table.startsWith(ARCHIVE)) note(versions, address(table, id), value && version);
      }
    }
    const sealed = this.sealedTop(version, versions);
    rows.push([[TOP, ""], { version, sealed }]);
    const writing = this.database.write(async (tx, ask) => {
      const records = tx.objectStore("records");
      const top = await records.get([TOP, ""]);
      if (top?.version === version && equal(top.sealed, sealed)) return; // by the last attempt
      if (top?.version !== this.commits) {
        // What a turn has written that was told to have failed is known to nobody here: load it anew.
        const isOwn = this.doubtful.some((one) => top !== undefined && equal(top.sealed, one));
        this.database.end(isOwn ? "doubtful" : "taken");
        throw new VaultLocked();
      }
      for (const [key, row] of rows) ask(row ? records.put(row, key) : records.delete(key));
    });
    try {
      await writing;
    } catch (error) {
      this.doubtful = [...this.doubtful, sealed].slice(-DOUBTS);
      throw error;
    }
    this.doubtful = [];
    this.commits = version;
    this.versions = versions;
    this.keep(turn);
  }

  private keep(turn: Turn): void {
    for (const [table, records] of turn.writes) {
      if (table.startsWith(ARCHIVE)) continue;
      const held = this.tables.get(table) ?? new Map<string, Uint8Array>();
      this.tables.set(table, held);
      for (const [id, value] of records) {
        if (value === undefined) held.delete(id);
        else held.set(id, value);
      }
    }
  }

  /** All of it as it is at one moment, and from that moment on nobody else's to write. */
  private async load(): Promise<void> {
    try {
      await this.database.write(async (tx, ask) => {
        await this.read(tx);
        this.commits += 1;
        const sealed = this.sealedTop(this.commits, this.versions);
        ask(tx.objectStore("records").put({ version: this.commits, sealed }, [TOP, ""]));
      });
    } catch (error) {
      if (!(error instanceof VaultFull)) throw error;
      // It can be read all the same. Once there is room, who writes first has it: see `write`.
      await this.database.read((tx) => this.read(tx));
    }
  }

  private async read(tx: Transaction<"readonly"> | Transaction<"readwrite">): Promise<void> {
    const store = tx.objectStore("records");
    const top = await store.get([TOP, ""]);
    if (top === undefined) throw new VaultDamaged();
    this.tables.clear();
    this.versions = readVersions(this.unsealed(TOP, "", top));
    for (const [place, version] of this.versions) {
      const [table, id] = place.split("\u0000") as [string, string];
      const stored = await store.get([table, id]);
      if (stored === undefined || stored.version !== version) throw new VaultDamaged();
      const held = this.tables.get(table) ?? new Map<string, Uint8Array>();
      this.tables.set(table, held.set(id, this.unsealed(table, id, stored)));
    }
    this.commits = top.version;
  }

  private sealed(table: string, id: string, version: number, value: Uint8Array): Stored {
    // Themis seals no empty plaintext: one byte goes before every value.
    const filled = concat(Uint8Array.of(1), value);
    return { version, sealed: seal(this.dek, filled, context(table, id, version)) };
  }

  private sealedTop(version: number, versions: Versions): Uint8Array {
    return this.sealed(TOP, "", version, writeVersions(versions)).sealed;
  }

  private unsealed(table: string, id: string, stored: Stored): Uint8Array {
    if (this.closed) throw new VaultLocked(); // the key is gone
    try {
      return unseal(this.dek, stored.sealed, context(table, id, stored.version)).slice(1);
    } catch (error) {
      if (error instanceof CannotOpen) throw new VaultDamaged();
      throw error;
    }
  }
}

/** What `act` makes of a database, which is closed if that fails. */
async function orClosed<T>(database: Database, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    database.close();
    throw error;
  }
}

/** The key of a vault, sealed under its passphrase; undefined if there is none. */
async function wrappedKey(name: string): Promise<Uint8Array | undefined> {
  const database = new Database(name);
  try {
    return await database.read((tx) => tx.objectStore("meta").get(KEY));
  } catch (error) {
    if (error instanceof VaultError && error.fault === "missing") return undefined;
    throw error;
  } finally {
    database.close();
  }
}

function unwrapped(wrapped: Uint8Array, passphrase: string): Uint8Array {
  try {
    const dek = unsealWithPassphrase(passphrase, wrapped);
    if (dek.length === KEY_BYTES) return dek;
  } catch (error) {
    if (!(error instanceof CannotOpen)) throw error;
  }
  throw new WrongPassphrase();
}

function note(versions: Versions, place: string, version: number | undefined): void {
  if (version === undefined) versions.delete(place);
  else versions.set(place, version);
}

function writeVersions(versions: Versions): Uint8Array {
  const entries = [...versions].map(([place, version]) => concat(u32be(version), utf8(place)));
  return concat(...entries.flatMap((entry) => [u32be(entry.length), entry]));
}

function readVersions(raw: Uint8Array): Versions {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  const found: Versions = new Map();
  for (let at = 0; at < raw.length; ) {
    const size = view.getUint32(at);
    found.set(fromUtf8(raw.subarray(at + 8, at + 4 + size)), view.getUint32(at + 4));
    at += 4 + size;
  }
  return found;
}
