/**
 * Files on their way out. Each is sealed into the vault, piece by piece, before any of it is sent, so
 * that it goes on after the page was closed: nobody has to choose it again.
 */

import { FILE_BYTES, type FileContent, FileRejected, FileSealer } from "../e2e/attachments.ts";
import { hex } from "../protocol/bytes.ts";
import { CHUNK_BYTES } from "../protocol/limits.ts";
import { randomBytes } from "../themis/index.ts";
import { RelayRefused } from "../wire/link.ts";
import { keepDrop } from "./blobdrops.ts";
import { contentFrom, contentJson } from "./contents.ts";
import { type RoomCore, RoomOver, unlessOver } from "./core.ts";
import { type FileLike, patiently } from "./files.ts";
import type { Outbox } from "./outbox.ts";
import { json } from "./saved.ts";
import { padded } from "./tables.ts";
import { type Told, told, toldOf } from "./told.ts";
import { ARCHIVE, Turn, VaultError, VaultLocked } from "./vault.ts";

/** Pieces that are written at once. */
const AT_ONCE = 8;
/** Why a file is lost whose page was closed while it was read. */
export const CLOSED_EARLY = "closed early";

/** A file on its way, for its person. */
export interface UploadInfo {
  readonly id: string;
  readonly name: string;
  /** From 0 to 1. */
  readonly done: number;
  /** Why it was given up; "" while it goes on, `CLOSED_EARLY` where it could not be read whole. */
  readonly problem: Told;
}

export interface Sending {
  readonly name?: string;
  readonly caption?: string;
  /** The file as a small picture, if it can be made into one. */
  readonly thumb?: () => Promise<Uint8Array<ArrayBuffer> | undefined>;
}

/** What the vault has of an upload. */
interface Kept {
  readonly name: string;
  readonly count: number;
  /** What the message will say of it, once all of it is sealed. */
  readonly content?: unknown;
  /** Its member was evicted: it goes on if that comes to nothing, and not by a new invite. */
  readonly isOut?: boolean;
}

export class Uploads {
  private readonly infos = new Map<string, UploadInfo>();
  private readonly stops = new Map<string, AbortController>();

  constructor(
    private readonly core: RoomCore,
    private readonly outbox: Outbox,
    /** Has the relay forget what it got of one that is given up. */
    private readonly onGivenUp: () => void,
  ) {
    for (const [id, { name, content, isOut = false }] of this.kept()) {
      const isGone = isOut || core.saved.status === "removed";
      const problem = isGone ? told("out_gone") : content === undefined ? CLOSED_EARLY : "";
      this.infos.set(id, { id, name, done: 0, problem });
      if (problem === "") void this.carryOn(id).catch(unlessOver);
    }
  }

  all(): UploadInfo[] {
    return [...this.infos.values()];
  }

  /**
   * Seal a file, store it at the relay, and tell of it; settled once that is queued. Rejects with
   * what went wrong (`FileRejected`, `RelayRefused`, `DOMException`), which also stands in `all`;
   * with an `AbortError` if it was stopped, and with `RoomOver`, after which it goes on when the
   * room is open again.
   */
  async send(file: FileLike, sending: Sending): Promise<void> {
    const { name = file.name ?? "file" } = sending;
    const id = hex(randomBytes(16));
    this.show({ id, name, done: 0, problem: "" });
    const stop = new AbortController();
    this.stops.set(id, stop);
    await this.orProblem(id, async () => {
      await this.stage(id, file, { ...sending, name }, stop.signal);
      await this.store(id, stop.signal);
    });
  }

  /** Stop one, or take away what is told of one that was given up. */
  async drop(id: string): Promise<void> {
    this.stops.get(id)?.abort();
    this.infos.delete(id);
    await this.forget(id);
    this.core.changed();
  }

  /**
   * Nothing is sent from here any more: what was on its way is told of. It is kept no longer, unless that
   * may come to nothing (`isForNow`): then until its person takes it away.
   */
  async giveUp(isForNow = false): Promise<void> {
    for (const info of this.infos.values()) {
      if (info.problem === "") this.infos.set(info.id, { ...info, problem: told("out_gone") });
    }
    await this.core.change(({ turn }) => {
      for (const [id, kept] of this.kept()) {
        if (isForNow && kept.content !== undefined) this.keep(turn, id, { ...kept, isOut: true });
        else this.remove(turn, id);
      }
    });
    this.core.changed();
  }

  /** Its member may write again, for what forbade it came to nothing: what was kept goes on. */
  async resume(): Promise<void> {
    const due = this.kept().filter(([, { content }]) => content !== undefined);
    await this.core.change(({ turn }) => {
      for (const [id, { isOut: _, ...kept }] of due) this.keep(turn, id, kept);
    });
    for (const [id, { name }] of due) {
      this.show({ id, name, done: 0, problem: "" });
      if (!this.stops.has(id)) void this.carryOn(id).catch(unlessOver);
    }
  }

  private kept(): [id: string, Kept][] {
    const { vault, tables } = this.core;
    return vault.items(tables.uploads).map(([id, raw]) => [id, json.read<Kept>(raw)]);
  }

  private async carryOn(id: string): Promise<void> {
    const stop = new AbortController();
    this.stops.set(id, stop);
    await this.orProblem(id, () => this.store(id, stop.signal)).catch(unlessKnown);
  }

  private async orProblem(id: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
      this.infos.delete(id);
    } catch (error) {
      // It goes on with the next page; or, refused to who was evicted, once that came to nothing.
      const isEnd = error instanceof RoomOver || error instanceof VaultLocked;
      if (isEnd || (await this.isOver())) throw error;
      const info = this.infos.get(id);
      if (info !== undefined) this.show({ ...info, problem: toldOf(error) });
      await this.forget(id);
      throw error;
    } finally {
      this.stops.delete(id);
      this.core.changed();
    }
  }

  /** Once all is taken in that came before this: whether nothing is sent from here any more. */
  private async isOver(): Promise<boolean> {
    await this.core.enqueue(async () => undefined).catch(unlessOver);
    return !this.core.isActive;
  }

  // -- into the vault --------------------------------------------------------------------------

  private async stage(
    id: string,
    file: FileLike,
    { name, caption, thumb }: Sending & { readonly name: string },
    signal: AbortSignal,
  ): Promise<void> {
    if (file.size > FILE_BYTES) throw new FileRejected("too_large");
    const sealer = new FileSealer(this.core.view.state.room, file.size);
    const { count } = sealer;
    const kept: Kept = { name, count };
    await this.core.change(({ turn }) => this.keep(turn, id, kept));
    const small = await thumb?.();
    for (let from = 0, isWhole = false; !isWhole; from += AT_ONCE) {
      const turn = new Turn(this.core.vault);
      for (let at = from; at < Math.min(from + AT_ONCE, count); at += 1) {
        signal.throwIfAborted();
        const piece = file.slice(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES);
        const chunk = sealer.seal(new Uint8Array(await piece.arrayBuffer()));
        turn.put(this.tableOf(id), padded(at), chunk);
      }
      isWhole = from + AT_ONCE >= count;
      if (isWhole) {
        const content = contentJson(sealer.finish(name, file.type, caption, small));
        this.keep(turn, id, { ...kept, content }); // with its last piece, or not at all
      }
      signal.throwIfAborted();
      if (this.core.isOver) throw new RoomOver("the room was closed");
      await this.core.vault.commit(turn);
    }
  }

  private keep(turn: Turn, id: string, kept: Kept): void {
    turn.put(this.core.tables.uploads, id, json.write(kept));
  }

  /** All of it leaves the vault, as far as it is there, and the relay. */
  private async forget(id: string): Promise<void> {
    await this.core.change(({ turn }) => {
      const raw = turn.get(this.core.tables.uploads, id);
      const content = raw && json.read<Kept>(raw).content;
      if (content !== undefined) {
        const { blob_id } = contentFrom(content) as FileContent;
        keepDrop(turn, this.core.tables, hex(blob_id), this.core.me);
      }
      this.remove(turn, id);
    });
    this.onGivenUp();
  }

  private remove(turn: Turn, id: string): void {
    const raw = turn.get(this.core.tables.uploads, id);
    if (raw === undefined) return;
    turn.delete(this.core.tables.uploads, id);
    const { count } = json.read<Kept>(raw);
    for (let at = 0; at < count; at += 1) turn.delete(this.tableOf(id), padded(at));
  }

  private tableOf(id: string): string {
    return `${ARCHIVE}upload/${this.core.id}/${id}`;
  }

  // -- to the relay ----------------------------------------------------------------------------

  /** Each piece may be sent again: the relay knows it for the same. */
  private async store(id: string, signal: AbortSignal): Promise<void> {
    const { core } = this;
    const raw = core.vault.get(core.tables.uploads, id);
    if (raw === undefined) throw new RoomOver("the room was closed");
    const content = contentFrom(json.read<Kept>(raw).content) as FileContent;
    const { room } = core.view.state;
    const count = content.chunks.length;
    for (let index = 0; index < count; index += 1) {
      signal.throwIfAborted();
      const chunk = await core.vault.fetch(this.tableOf(id), padded(index));
      if (chunk === undefined) throw new FileRejected("missing");
      const put = { type: "blob_put", room, blob: content.blob_id, index, count, chunk } as const;
      await patiently(core, put, signal); // none behind the drop of one that is stopped
      const info = this.infos.get(id);
      if (info !== undefined) this.show({ ...info, done: (index + 1) / count });
    }
    await core.change(({ turn }) => {
      signal.throwIfAborted();
      this.outbox.put(turn, content);
      this.remove(turn, id);
    });
    this.outbox.pump();
  }

  private show(info: UploadInfo): void {
    this.infos.set(info.id, info);
    this.core.changed();
  }
}

/** What `Uploads.all` tells of. */
export function unlessKnown(error: unknown): void {
  const isKnown =
    error instanceof FileRejected ||
    error instanceof RelayRefused ||
    error instanceof RoomOver ||
    error instanceof VaultError ||
    // It was stopped; or the file is gone, may not be read any more, or was taken away.
    error instanceof DOMException;
  if (!isKnown) throw error;
}
