/** Changes of messages that are not at the relay yet: shown at once, and marked as on their way. */

import { applyChange, type Entry, idsOf } from "../client/entries.ts";
import type { Waiting } from "../client/queued.ts";
import type { Room } from "../client/room.ts";
import type { Content } from "../e2e/bodies.ts";
import { hex } from "../protocol/bytes.ts";

const targetOf = (content: Content): string =>
  "target" in content && content.target !== undefined ? hex(content.target) : "";

/** An entry as it reads once what waits here is in the log; itself, if nothing of that changes it. */
export function asItWillRead(
  entry: Entry,
  waiting: readonly Waiting[],
  { me, isOwner }: Pick<Room, "me" | "isOwner">,
): Entry {
  return waiting
    .filter(({ content, failed }) => failed === "" && idsOf(entry).includes(targetOf(content)))
    .reduce((now, { content }) => applyChange(now, me, content, isOwner), entry);
}

/** Whether its words are other ones than the relay has: a reaction alone is no such change. */
export const isReworded = (entry: Entry, kept: Entry): boolean =>
  entry.kind !== kept.kind || entry.text !== kept.text;
