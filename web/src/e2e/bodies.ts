/**
 * What a message says: the plaintext inside an event's cell (docs/protocol.md, Messages).
 *
 * Strict JSON, padded with white space to one of a few sizes. A type from the future becomes
 * `unknown`: shown as such, never dropped.
 */

import { Malformed } from "../protocol/codes.ts";
import { dumpJson, type JsonObject, parseJson } from "../protocol/json.ts";
import * as limits from "../protocol/limits.ts";
import type { EventKind } from "../protocol/records.ts";
import * as is from "../protocol/schema.ts";
import { KEY_BYTES } from "../themis/index.ts";

/** Sizes of plaintext, in bytes. */
export const BUCKETS = [256, 1024, 4096, 16384, 49152] as const;
const LARGEST = BUCKETS[BUCKETS.length - 1] as number;
export const FILE_CHUNKS = 960;
/** Of a picture made small: with it, most messages that name one fill the bucket of 16 KiB. */
export const THUMB_BYTES = 10 * limits.KIB;
const NAME = 256;

export type BodyFault = "too_long" | "invalid";

/** A body that can not be sent, with a sentence for whoever wrote it. */
export class BodyInvalid extends Error {
  override readonly name = "BodyInvalid";

  constructor(
    readonly fault: BodyFault,
    sentence: string,
  ) {
    super(sentence);
  }
}

/** A format from the future is read as plain. */
const format: is.Kind<"plain" | "markdown-lite"> = {
  read(value) {
    if (typeof value !== "string") throw new Malformed("bad_record", "a field is not a word");
    return value === "markdown-lite" ? value : "plain";
  },
  write: (value) => value,
};

const name = is.text(NAME);
const mentions = is.optional(is.list(is.b32, 64), []);
const wholeKey: is.Kind<Uint8Array> = {
  read(value) {
    const raw = is.bytes(KEY_BYTES).read(value);
    if (raw.length !== KEY_BYTES) throw new Malformed("bad_record", "a key has 32 bytes");
    return raw;
  },
  write: is.bytes().write,
};

const NONE = new Uint8Array();

const notEmpty = (kind: is.Kind<string>): is.Kind<string> => ({
  read(value) {
    const text = kind.read(value);
    if (text === "") throw new Malformed("bad_record", "a field can not be empty");
    return text;
  },
  write: kind.write,
});

export const contents = {
  text: {
    text: is.text(),
    format: is.optional(format, "plain"),
    reply_to: is.optional(is.b32),
    thread: is.optional(is.b32),
    mentions,
  },
  edit: { target: is.b32, text: is.text(), format: is.optional(format, "plain"), mentions },
  reaction: {
    target: is.b32,
    emoji: notEmpty(is.text(64)),
    removed: is.optional(is.bool, false),
  },
  file: {
    blob_id: is.b16,
    key: wholeKey,
    size: is.int(),
    sha256: is.b32,
    chunks: is.list(is.b32, FILE_CHUNKS),
    name: is.optional(name, ""),
    mime: is.optional(is.text(limits.SHORT_TEXT), "application/octet-stream"),
    caption: is.optional(is.text(1024), ""),
    thumb: is.optional(is.bytes(THUMB_BYTES), NONE),
  },
  profile: { name },
  room: { name, topic: is.optional(is.text(1024), "") },
  beat: {},
  redact: { target: is.b32, reason: is.optional(is.text(limits.SHORT_TEXT), "") },
  handover_offer: { to: is.b32 },
  handover_accept: { accept: is.bytes(2048) },
  compare: { run: is.b16, to: is.b32, step: is.int(1, 4), data: is.bytes(1024) },
  compare_end: { run: is.b16, to: is.b32, reason: is.text(limits.SHORT_TEXT) },
  alias: { member: is.b32, removed: is.optional(is.bool, false) },
} satisfies Record<string, is.Fields>;

type Known = {
  [type in keyof typeof contents]: { readonly type: type } & is.Infer<(typeof contents)[type]>;
}[keyof typeof contents];
/** A body of a type that this version does not know. */
export type Unknown = { readonly type: "unknown"; readonly of: string; readonly json: JsonObject };
export type Content = Known | Unknown;

const via = is.object({
  network: notEmpty(name),
  remote_id: name,
  name: is.optional(name, ""),
});

const frame = {
  room: is.b32,
  mid: is.b32,
  counter: is.int(),
  sid: is.b16,
  name: is.optional(name, ""),
  hops: is.optional(is.int(0, 255), 0),
  via: is.optional(via),
  voids: is.optional(is.list(is.b32, 16), []),
} satisfies is.Fields;

export type Body = is.Infer<typeof frame> & { readonly content: Content };

/** What the relay is told of such a message. */
export function kindOf(content: Content): EventKind {
  if (content.type === "beat") return "beat";
  return content.type === "redact" ? "redact" : "msg";
}

function contentJson(content: Content): readonly [string, JsonObject] {
  if (content.type === "unknown") return [content.of, content.json];
  const { type, ...values } = content;
  return [type, is.writeFields<is.Fields>(contents[type], values)];
}

/** The padded plaintext; throws `BodyInvalid`. */
export function encodeBody(body: Body): Uint8Array {
  const [type, content] = contentJson(body.content);
  const raw = dumpJson({ type, ...is.writeFields(frame, body), content });
  requireSendable(raw);
  const bucket = BUCKETS.find((size) => raw.length <= size) as number;
  const padded = new Uint8Array(bucket).fill(0x20);
  padded.set(raw);
  return padded;
}

/** What comes out must be readable by everyone: refused here, not by each who receives it. */
function requireSendable(raw: Uint8Array): void {
  try {
    decodeBody(raw);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    const long = error.code === "too_large";
    throw new BodyInvalid(
      long ? "too_long" : "invalid",
      long
        ? `the message is ${raw.length} bytes long, and ${LARGEST} are allowed`
        : `this can not be sent: ${error.message}`,
    );
  }
}

/** The body in a plaintext; throws `Malformed`. */
export function decodeBody(raw: Uint8Array): Body {
  const json = parseJson(raw, LARGEST);
  const { type, content } = json;
  if (typeof type !== "string" || !isObject(content)) {
    throw new Malformed("bad_record", "the body has no type or no content");
  }
  return { ...is.readFields(frame, json), content: readContent(type, content) };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readContent(type: string, json: JsonObject): Content {
  if (!Object.hasOwn(contents, type)) return { type: "unknown", of: type, json };
  const fields: is.Fields = contents[type as keyof typeof contents];
  return { type, ...is.readFields(fields, json) } as unknown as Content;
}
