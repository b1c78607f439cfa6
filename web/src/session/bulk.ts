/** Bulk: deliveries that the relay sealed once for all who read a room (docs/protocol.md, Bulk). */

import { equal, hex } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { decodeRelayFrame, type RelayFrame } from "../protocol/frames.ts";
import { sha256, taggedHash } from "../protocol/ids.ts";
import * as limits from "../protocol/limits.ts";
import { splitParts } from "../protocol/parts.ts";
import { CannotOpen, KEY_BYTES, unseal } from "../themis/index.ts";

type FrameOfType<T extends RelayFrame["type"]> = Extract<RelayFrame, { type: T }>;

const bad = (sentence: string) => new Malformed("bad_frame", sentence);

/** The feed keys of one link. */
export class BulkReader {
  private readonly keys = new Map<string, FrameOfType<"feed_key">>();

  /** The frames of a message with each `bulk` replaced by what it stands for. */
  unfold(frames: readonly RelayFrame[], trailer: readonly Uint8Array[]): RelayFrame[] {
    const parts = [...trailer];
    const unfolded: RelayFrame[] = [];
    for (const frame of frames) {
      if (frame.type === "feed_key") this.learn(frame);
      else if (frame.type === "bulk") unfolded.push(...this.open(frame, parts.shift()));
      else unfolded.push(frame);
    }
    if (parts.length > 0) throw bad("a message has a trailer that no frame names");
    return unfolded;
  }

  private learn(frame: FrameOfType<"feed_key">): void {
    const room = hex(frame.room);
    if (!this.keys.has(room) && this.keys.size >= limits.FEEDS) {
      throw bad("the relay sends more feed keys than there are rooms");
    }
    if (frame.key.length !== KEY_BYTES) throw bad("a feed key has 32 bytes");
    this.keys.set(room, frame);
  }

  private open(bulk: FrameOfType<"bulk">, part: Uint8Array = new Uint8Array()): RelayFrame[] {
    const key = this.keys.get(hex(bulk.room));
    if (key === undefined || key.number !== bulk.number || !equal(sha256(part), bulk.hash)) {
      throw bad("a bulk is not the one that was announced");
    }
    const joined = unsealed(key.key, part, taggedHash("feed", bulk.room, bulk.number));
    return splitParts(joined, limits.FRAMES_PER_MESSAGE).map((raw) => delivery(raw, bulk.room));
  }
}

function unsealed(key: Uint8Array, part: Uint8Array, context: Uint8Array): Uint8Array {
  try {
    return unseal(key, part, context);
  } catch (error) {
    if (error instanceof CannotOpen) throw bad("a bulk does not open under its feed key");
    throw error;
  }
}

function delivery(raw: Uint8Array, room: Uint8Array): RelayFrame {
  const frame = decodeRelayFrame(raw);
  if (frame.type !== "delivery" || !equal(frame.room, room)) {
    throw bad("a bulk holds something else than its room's deliveries");
  }
  return frame;
}
