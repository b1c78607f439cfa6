/**
 * Attachments that the relay is to forget: of messages that this member redacted, and of files that it
 * gave up sending (ofcd/client/blobdrops.py, docs/protocol.md, Attachments).
 *
 * What is to be dropped is kept in the vault, in the turn that takes the redaction in, until the relay
 * has done it, or refuses it for good. There are no more of them than a person has deleted.
 */

import { fromHex } from "../protocol/bytes.ts";
import { RETRYABLE } from "../protocol/codes.ts";
import { LinkLost, RelayRefused } from "../wire/link.ts";
import { warn } from "./alarms.ts";
import { type RoomCore, unlessOver } from "./core.ts";
import { json } from "./saved.ts";
import type { Tables } from "./tables.ts";
import { refusedWith, type Told, told } from "./told.ts";
import { type Turn, VaultError } from "./vault.ts";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 600_000;
/** Answers that may be others in a while. */
const LATER: ReadonlySet<string> = new Set([
  ...RETRYABLE,
  "internal",
  "not_attached",
  "wrong_relay", // it has seen our HOME before we have
]);

/** An attachment's id in hex. */
const ID_DIGITS = 32;

/**
 * The relay is to forget this attachment, which `uploader` has stored there. Others may have stored one
 * under the same id: each of them is asked for by itself. Ids are hex.
 */
export function keepDrop(turn: Turn, tables: Tables, blob: string, uploader: string): void {
  turn.put(tables.drops, `${blob}/${uploader}`, json.write(uploader));
}

/** A message that names an attachment came into the log: one that was said anew names it twice. */
export async function named(core: RoomCore, turn: Turn, blob: string, mid: string): Promise<void> {
  const count = await namedBy(core, turn, blob, mid);
  turn.put(core.tables.index, `${blob}/${mid}`, json.write(count + 1));
}

/**
 * A message of `mid` that named an attachment is deleted; whether none of theirs names it now, as far as
 * they were counted: an earlier version did not. Ids are hex.
 */
export async function unnamed(
  core: RoomCore,
  turn: Turn,
  blob: string,
  mid: string,
): Promise<boolean> {
  const left = Math.max(0, (await namedBy(core, turn, blob, mid)) - 1);
  turn.put(core.tables.index, `${blob}/${mid}`, json.write(left));
  return left === 0;
}

async function namedBy(core: RoomCore, turn: Turn, blob: string, mid: string): Promise<number> {
  const { index } = core.tables;
  const id = `${blob}/${mid}`;
  const count = turn.get(index, id) ?? (await core.vault.fetch(index, id));
  return count === undefined ? 0 : json.read<number>(count);
}

/** What one room's relay is still to forget; one at a time. */
export class BlobDrops {
  private isBusy = false;
  private pause = FIRST_PAUSE_MS;
  private stopWaiting: (() => void) | undefined;

  constructor(private readonly core: RoomCore) {}

  /** On the next link they are asked for again, at once. */
  linkLost(): void {
    this.stopWaiting?.();
    this.stopWaiting = undefined;
  }

  /** Ask for the next one, if it is time; to be called after whatever came. */
  check(): void {
    if (this.isBusy || this.stopWaiting !== undefined || !this.core.isLive) return;
    const [next] = this.core.vault.items(this.core.tables.drops);
    if (next === undefined) return;
    this.isBusy = true;
    void this.drop(...next)
      .catch((error: unknown) => {
        if (error instanceof VaultError) this.askLater(0);
        else unlessOver(error);
        return false;
      })
      .finally(() => {
        this.isBusy = false;
      })
      .then((goOn) => {
        if (goOn) this.check();
      });
  }

  /** Whether the next one may be asked for at once. */
  private async drop(id: string, raw: Uint8Array): Promise<boolean> {
    const { link } = this.core;
    const { room } = this.core.view.state;
    const blob = fromHex(id.slice(0, ID_DIGITS)); // all there is in one of an earlier version
    const uploader = fromHex(json.read<string>(raw));
    let stays: Told = "";
    try {
      await link?.ask({ type: "blob_drop", room, blob, uploader });
    } catch (error) {
      if (!(error instanceof LinkLost || error instanceof RelayRefused)) throw error;
      if (this.core.link !== link) return true; // that relay was left meanwhile
      if (error instanceof LinkLost) return false; // the next link's is asked
      if (LATER.has(error.code)) {
        this.askLater(error.wait);
        return false;
      }
      stays = told("file_stays", refusedWith(error.code));
    }
    this.pause = FIRST_PAUSE_MS;
    await this.core.change((draft) => {
      draft.turn.delete(this.core.tables.drops, id);
      // Nothing that is done here would change it: its person hears that the relay keeps it.
      if (stays !== "") warn(draft, stays);
    });
    return true;
  }

  private askLater(wait: number): void {
    this.stopWaiting = this.core.later(
      () => {
        this.stopWaiting = undefined;
        this.check();
      },
      Math.max(this.pause, wait),
    );
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
  }
}
