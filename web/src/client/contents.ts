/** Message contents as JSON, for the outbox. */

import { type Content, contents } from "../e2e/bodies.ts";
import { Malformed } from "../protocol/codes.ts";
import type { JsonObject } from "../protocol/json.ts";
import * as is from "../protocol/schema.ts";

export function contentJson(content: Content): JsonObject {
  if (content.type === "unknown") throw new Malformed("bad_record", "this can not be sent");
  const { type, ...values } = content;
  return { type, content: is.writeFields<is.Fields>(contents[type], values) };
}

export function contentFrom(saved: unknown): Content {
  const { type, content } = saved as { type: keyof typeof contents; content: JsonObject };
  return { type, ...is.readFields<is.Fields>(contents[type], content) } as unknown as Content;
}

/** Plain words. */
export const text = (
  words: string,
  options: { replyTo?: Uint8Array; mentions?: readonly Uint8Array[] } = {},
): Content => ({
  type: "text",
  text: words,
  format: "markdown-lite",
  reply_to: options.replyTo,
  thread: undefined,
  mentions: options.mentions ?? [],
});
