/**
 * What a message is about, by the id that means it in the log now (ofcd/client/aiming.py). What came to
 * nothing and was said again (voiding.ts) has another id; the page may still know it by the one before,
 * which says nothing to who was never shown that.
 */

import type { Content } from "../e2e/bodies.ts";
import { fromHex, hex } from "../protocol/bytes.ts";
import type { RoomCore } from "./core.ts";
import { find } from "./journal.ts";

const NAMED = ["target", "reply_to", "thread"];

/** The same, with the present ids of what it names. */
export async function aimed(core: RoomCore, content: Content): Promise<Content> {
  const now: Record<string, unknown> = { ...content };
  for (const name of NAMED) {
    const id = now[name];
    const entry = id instanceof Uint8Array ? await find(core, hex(id)) : undefined;
    if (entry !== undefined) now[name] = fromHex(entry.eventId);
  }
  return now as unknown as Content;
}

/** The event id, in hex, of what it would change. */
export const targetOf = (content: Content): string | undefined =>
  content.type === "edit" || content.type === "redact" || content.type === "reaction"
    ? hex(content.target)
    : undefined;
