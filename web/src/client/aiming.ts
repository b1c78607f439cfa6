/**
 * What waits to be said about what a move by force made void (ofcd/client/aiming.py): nobody knows the
 * ids that it names. An edit or a deletion of one's own words, which are said again, becomes part of them;
 * all else can not be said.
 */

import type { Content } from "../e2e/bodies.ts";
import { hex } from "../protocol/bytes.ts";
import { contentFrom } from "./contents.ts";
import type { Item } from "./queued.ts";
import { told } from "./told.ts";
import type { Said } from "./voiding.ts";

interface Aimed {
  /** One's own words that are said again. */
  readonly said: readonly Said[];
  /** Those that are not: they were deleted meanwhile. */
  readonly deleted: readonly Said[];
  /** What waits beside them. */
  readonly waiting: readonly Item[];
}

/** With what waits, in its order; of what is void, `gone` has the event ids in hex. */
export const aimed = (
  said: readonly Said[],
  waiting: readonly Item[],
  gone: ReadonlySet<string>,
): Aimed =>
  waiting.reduce<Aimed>((now, item) => withOne(now, item, gone), {
    said,
    deleted: [],
    waiting: [],
  });

function withOne(now: Aimed, item: Item, gone: ReadonlySet<string>): Aimed {
  const content = contentFrom(item.content);
  const target = item.failed === "" ? targetOf(content) : undefined;
  if (target === undefined || !gone.has(target)) {
    return { ...now, waiting: [...now.waiting, item] };
  }
  const own = now.said.find(({ eventId }) => eventId === target);
  if (own === undefined || content.type === "reaction") {
    return { ...now, waiting: [...now.waiting, { ...item, failed: told("out_void") }] };
  }
  if (content.type === "redact") {
    return { ...now, said: now.said.filter((one) => one !== own), deleted: [...now.deleted, own] };
  }
  return { ...now, said: now.said.map((one) => (one === own ? reworded(one, content) : one)) };
}

const targetOf = (content: Content): string | undefined =>
  content.type === "edit" || content.type === "redact" || content.type === "reaction"
    ? hex(content.target)
    : undefined;

function reworded(own: Said, content: Content): Said {
  if (content.type !== "edit" || own.content.type !== "text") return own;
  const { text, format, mentions } = content;
  return { ...own, content: { ...own.content, text, format, mentions } };
}
