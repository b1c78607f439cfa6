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

import { type DBSchema, type IDBPDatabase, openDB } from "idb";

import { concat, fromUtf8, u32be, utf8 } from "../protocol/bytes.ts";
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

export const ARCHIVE = "archive/";
const TOP = "#top";
const KEY = "key";
const FORMAT = 1;

export type VaultFault =
  | "there"
  | "missing"
  | "passphrase"
  | "damaged"
  | "full"
  | "locked"
  | "not_removed"
  | "not_written";

/** The vault can not be used; the message says why, and what to do. */
export class VaultError extends Error {
  override readonly name: string = "VaultError";

  constructor(
    readonly fault: VaultFault,
    sentence: string,
  ) {
    super(sentence);
  }
}
export class WrongPassphrase extends VaultError {
  override readonly name = "WrongPassphrase";

  constructor() {
    super("passphrase", "this is not the passphrase of this vault");
  }
}
/** Records were changed, put back or removed outside this program. */
export class VaultDamaged extends VaultError {
  override readonly name = "VaultDamaged";

  constructor() {
    super("damaged", "the vault was changed outside this program: restore a backup, or forget it");
  }
}
/** There is no room left to write; nothing of what is here was lost. */
export class VaultFull extends VaultError {
  override readonly name = "VaultFull";

  constructor() {
    super("full", "there is no room left in this browser: nothing more can be kept");
  }
}
/** It was locked, or another tab has it now: nothing is read or written here any more. */
export class VaultLocked extends VaultError {
  override readonly name = "VaultLocked";

  constructor() {
    super("locked", "the vault is locked, or another tab has it now");
  }
}

interface Stored {
  readonly version: number;
  readonly sealed: Uint8Array;
}

interface Schema extends DBSchema {
  meta: { key: string; value: Uint8Array };
  records: { key: [table: string, id: string]; value: Stored };
}

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

type Database = IDBPDatabase<Schema>;
type Versions = Map<string, number>;

/** `onForgotten` is called when another tab removes it, or opens it in a later form. */
const open = (name: string, onForgotten: () => void = () => undefined): Promise<Database> =>
  openDB<Schema>(name, FORMAT, {
    upgrade(database) {
      database.createObjectStore("meta");
      database.createObjectStore("records");
    },
    blocking(_now, _next, event) {
      (event.target as IDBDatabase).close(); // it would wait for this one
      onForgotten();
    },
  });

const address = (table: string, id: string) => `${table}\u0000${id}`;
const context = (table: string, id: string, version: number) =>
  taggedHash("rec", utf8(table), utf8(id), version);

export class Vault implements Reader {
  private readonly tables = new Map<string, Map<string, Uint8Array>>();
  private versions: Versions = new Map();
  private commits = 0;
  private queue: Promise<void> = Promise.resolve();
  private closed = false;
  /** Another tab has removed it. */
  private isGone = false;
  /** Called once another tab has the vault, or has removed it. */
  onTaken: () => void = () => undefined;
  private database!: Database;

  private constructor(private readonly dek: Uint8Array) {}

  private async connect(name: string): Promise<Database> {
    this.database = await open(name, () => {
      this.isGone = true;
      this.onTaken();
    });
    return this.database;
  }

  /** Whether there is a vault of this name in this browser. */
  static async exists(name: string): Promise<boolean> {
    const database = await open(name);
    const there = (await database.getKey("meta", KEY)) !== undefined;
    database.close();
    return there;
  }

  /** A new vault; throws `VaultError` if there is one. */
  static async create(name: string, passphrase: string): Promise<Vault> {
    const dek = generateKey();
    const vault = new Vault(dek);
    const database = await vault.connect(name);
    if ((await database.getKey("meta", KEY)) !== undefined) {
      database.close();
      throw new VaultError("there", "there already is a vault in this browser");
    }
    const top = vault.sealedTop(0, new Map());
    const wrapped = sealWithPassphrase(passphrase, dek);
    const tx = database.transaction(["meta", "records"], "readwrite", { durability: "strict" });
    await whole(tx, (ask) => {
      ask(tx.objectStore("meta").put(wrapped, KEY));
      ask(tx.objectStore("records").put({ version: 0, sealed: top }, [TOP, ""]));
    });
    return vault;
  }

  /** An existing vault; throws `WrongPassphrase`, `VaultDamaged`. */
  static async open(name: string, passphrase: string): Promise<Vault> {
    return Vault.openWith(name, await Vault.keyOf(name, passphrase));
  }

  /** The key that a vault's passphrase opens; throws `WrongPassphrase`. Others may be using it. */
  static async keyOf(name: string, passphrase: string): Promise<Uint8Array> {
    const database = await open(name);
    const wrapped = await database.get("meta", KEY);
    database.close();
    if (wrapped === undefined)
      throw new VaultError("missing", "there is no vault in this browser yet");
    return unwrapped(wrapped, passphrase);
  }

  /** A vault by its key, which it keeps; who had it open writes no more. Throws `VaultDamaged`. */
  static async openWith(name: string, key: Uint8Array): Promise<Vault> {
    const vault = new Vault(key);
    const database = await vault.connect(name);
    try {
      await vault.load();
      return vault;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Forget everything: keys, rooms, history. There is no way back. */
  static async forget(name: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const request = indexedDB.deleteDatabase(name);
      request.onsuccess = () => resolve();
      request.onerror = () =>
        reject(new VaultError("not_removed", "the vault could not be removed"));
    });
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
    const tx = this.database.transaction("records");
    const found: [string, Uint8Array][] = [];
    let cursor = await tx.store.openCursor(range, "prev");
    while (cursor !== null && found.length < limit) {
      const [, id] = cursor.key;
      found.push([id, this.unsealed(table, id, cursor.value)]);
      cursor = await cursor.continue();
    }
    return found.reverse();
  }

  /** One record, of an archive table too. */
  async fetch(table: string, id: string): Promise<Uint8Array | undefined> {
    if (!table.startsWith(ARCHIVE)) return this.get(table, id);
    const stored = await this.database.get("records", [table, id]);
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
    await this.database.put("meta", sealWithPassphrase(passphrase, this.dek), KEY);
  }

  private async write(turn: Turn): Promise<void> {
    if (turn.writes.size === 0) return;
    if (this.isGone) throw new VaultLocked();
    const version = this.commits + 1;
    const versions = new Map(this.versions);
    const rows: [key: [string, string], row: Stored | undefined][] = [];
    for (const [table, records] of turn.writes) {
      for (const [id, value] of records) {
        rows.push([[table, id], value && this.sealed(table, id, version, value)]);
        if (!table.startsWith(ARCHIVE)) note(versions, address(table, id), value && version);
      }
    }
    rows.push([[TOP, ""], { version, sealed: this.sealedTop(version, versions) }]);
    const tx = this.database.transaction("records", "readwrite", { durability: "strict" });
    const top = await tx.store.get([TOP, ""]);
    if (top?.version !== this.commits) {
      this.onTaken();
      throw new VaultLocked();
    }
    await whole(tx, (ask) => {
      for (const [key, row] of rows) ask(row ? tx.store.put(row, key) : tx.store.delete(key));
    });
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
    const tx = this.database.transaction("records", "readwrite", { durability: "strict" });
    const store = tx.objectStore("records");
    const top = await store.get([TOP, ""]);
    if (top === undefined) throw new VaultDamaged();
    const versions = readVersions(this.unsealed(TOP, "", top));
    for (const [place, version] of versions) {
      const [table, id] = place.split("\u0000") as [string, string];
      const stored = await store.get([table, id]);
      if (stored === undefined || stored.version !== version) throw new VaultDamaged();
      const held = this.tables.get(table) ?? new Map<string, Uint8Array>();
      this.tables.set(table, held.set(id, this.unsealed(table, id, stored)));
    }
    const version = top.version + 1;
    const sealed = this.sealedTop(version, versions);
    await whole(tx, (ask) => ask(store.put({ version, sealed }, [TOP, ""])));
    this.commits = version;
    this.versions = versions;
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

type Asking = (request: Promise<unknown>) => void;
/** Each request fails with its transaction, whose own end is looked at. */
const ignored: Asking = (request) => void request.catch(() => undefined);

/** All that is asked of a transaction, or nothing of it; rejects with `VaultError`. */
async function whole(
  tx: { readonly done: Promise<void>; abort(): void },
  askAll: (ask: Asking) => void,
): Promise<void> {
  let isAsked = false;
  try {
    askAll(ignored);
    isAsked = true;
    await tx.done;
  } catch (error) {
    if (!isAsked) tx.abort(); // what it was asked for by then goes too
    await tx.done.catch(() => undefined);
    if (!(error instanceof DOMException)) throw error;
    if (error.name === "QuotaExceededError") {
      throw new VaultFull();
    }
    throw new VaultError("not_written", `the browser could not keep it: ${error.name}`);
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
