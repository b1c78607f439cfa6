/** Attachments: what the relay keeps of them, asked for and told (ofcd/client/files.py). */

import { FileOpener, type FileRef } from "../e2e/attachments.ts";
import type { Link, Request } from "../wire/link.ts";
import { LinkLost, RelayRefused } from "../wire/link.ts";
import type { RoomCore } from "./core.ts";

const AGAIN_MS = 1_000;
const LATER = new Set([
  "rate_limited",
  "try_again",
  "hub_away",
  "storage_failed",
  "shutting_down",
  "not_attached",
  "wrong_relay",
  "internal",
]);

export type Progress = (done: number, count: number) => void;

/** What is read of a file: the browser's `File` is one. */
export type FileLike = Pick<Blob, "size" | "slice" | "type"> & { readonly name?: string };

export interface Fetching {
  readonly onProgress?: Progress;
  /** Stops it, between two pieces. */
  readonly signal?: AbortSignal;
}

/** Fetch a file and check it; throws `FileRejected` if it is not what its sender described. */
export async function download(
  core: RoomCore,
  ref: FileRef,
  { onProgress, signal }: Fetching = {},
): Promise<Uint8Array<ArrayBuffer>[]> {
  const { room } = core.view.state;
  const opener = new FileOpener(room, ref);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for (let index = 0; index < opener.count; index += 1) {
    signal?.throwIfAborted();
    const answer = await patiently(
      core,
      { type: "blob_get", room, blob: ref.blob_id, index },
      signal,
    );
    if (answer.type !== "blob") throw new LinkLost("the relay answered something else");
    chunks.push(opener.open(answer.chunk) as Uint8Array<ArrayBuffer>);
    onProgress?.(index + 1, opener.count);
  }
  opener.finish();
  return chunks;
}

/**
 * The answer to a request that may be repeated harmlessly; through reconnects and waits. Nothing is
 * asked any more once `signal` says so.
 */
export async function patiently(
  core: RoomCore,
  request: Request,
  signal?: AbortSignal,
): ReturnType<Link["ask"]> {
  for (;;) {
    const link = await core.whenLive();
    signal?.throwIfAborted();
    try {
      return await link.ask(request);
    } catch (error) {
      if (error instanceof LinkLost) {
        await core.until(() => core.link !== link, AGAIN_MS);
        continue;
      }
      if (!(error instanceof RelayRefused) || !LATER.has(error.code)) throw error;
      await core.pause(Math.max(AGAIN_MS, error.wait));
    }
  }
}
