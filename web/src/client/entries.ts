/** What a room's history shows: one entry for each event of the log, as it reads now. */

import type { FileRef } from "../e2e/attachments.ts";
import type { Content } from "../e2e/bodies.ts";
import { displayName } from "../e2e/names.ts";
import type { Taken } from "../e2e/view.ts";
import { b64decode, b64encode, fromHex, hex } from "../protocol/bytes.ts";
import { memberIdOf } from "../protocol/ids.ts";
import type { ControlRecord } from "../protocol/records.ts";
import { toldOf } from "./told.ts";

/** An entry of a room's history. Ids are hex. */
export interface Entry {
  readonly seq: number;
  readonly eventId: string;
  /** Who is proven to have said or done it. */
  readonly mid: string;
  /** What they called themselves; safe to show, may be empty. */
  readonly name: string;
  /** Milliseconds since 1970, by their clock. */
  readonly ts: number;
  readonly kind: EntryKind;
  /** Of what can not be read, why: see told.ts. */
  readonly text: string;
  readonly isMarkdown: boolean;
  readonly replyTo: string;
  readonly edited: boolean;
  /** Emoji, and the members who put it there. */
  readonly reactions: Readonly<Record<string, readonly string[]>>;
  readonly file: FileInfo | undefined;
  /** For bridges: the network that somebody is said to speak from. */
  readonly via: string;
  /** What they are called there, by the bridge's word alone; entries of an earlier version lack it. */
  readonly speaker?: string;
  /** Whom it names, in hex; entries of an earlier version lack it. */
  readonly mentions?: readonly string[];
  /** As it read before each of its last edits. */
  readonly earlier?: readonly Version[] | undefined;
  /** What came without its key, and waits for it. */
  readonly parked?: Parked;
  /** It was read before, in a part of the log that came to nothing: nothing new. */
  readonly again?: boolean;
  /** Its ids in parts that came to nothing, the first one first. */
  readonly formerIds?: readonly string[];
}

export const idsOf = ({ eventId, formerIds = [] }: Entry): readonly string[] => [
  ...formerIds,
  eventId,
];

/** The words of an entry until the edit that stands at entry `until`. */
export interface Version extends Pick<Entry, "text" | "isMarkdown" | "edited"> {
  readonly until: number;
  readonly mentions: readonly string[];
}

/** A message as it came, in base64; `caps` are those that its sender had then. */
export interface Parked {
  readonly record: string;
  readonly cell: string;
  readonly caps: readonly string[];
}

export type EntryKind = "text" | "file" | "redacted" | "unreadable" | "change" | "unknown";

/** An attachment as its sender describes it: name and type are untrusted. */
export interface FileInfo {
  readonly blobId: string;
  readonly key: string;
  readonly size: number;
  readonly sha256: string;
  readonly chunks: readonly string[];
  readonly name: string;
  readonly mime: string;
  /** What it is said to look like, as a small picture in base64; untrusted, and most have none. */
  readonly thumb?: string;
}

/** A file's secrets, as they are needed to fetch it. */
export const refOf = (file: FileInfo): FileRef => ({
  blob_id: fromHex(file.blobId),
  key: b64decode(file.key),
  size: file.size,
  sha256: fromHex(file.sha256),
  chunks: file.chunks.map(fromHex),
});

/** What a delivery does to the history: a new entry, or a change of an earlier one. */
export type Effect =
  | { readonly type: "add"; readonly entry: Entry }
  | {
      readonly type: "change";
      /** The entry that changes it. */
      readonly seq: number;
      readonly target: string;
      readonly by: string;
      readonly content: Content;
      /** Its sender's clock. */
      readonly ts: number;
    }
  | { readonly type: "none" };

/** Different emoji at one entry. */
const REACTIONS = 64;
/** Earlier words of one entry that are kept, in case that its last edits come to nothing. */
const VERSIONS = 16;

/** A network whose name can not be shown. */
const NAMELESS = "?";

const NONE: Effect = { type: "none" };

/** What an entry holds that says nothing yet. */
export const blank = {
  text: "",
  isMarkdown: false,
  replyTo: "",
  edited: false,
  reactions: {},
  file: undefined,
  earlier: undefined,
  via: "",
};

/** What the delivery of entry `seq` comes to. */
export function effectOf(seq: number, eventId: string, taken: Taken): Effect {
  if (taken.repeat) return NONE;
  if (taken.control !== undefined) return changed(seq, eventId, taken.control.record);
  if (taken.opened !== undefined) return said(seq, eventId, taken);
  return { type: "add", entry: unreadable(seq, eventId, taken) };
}

function unreadable(seq: number, eventId: string, { event, troubles }: Taken): Entry {
  const mid = event === undefined ? "" : hex(event.record.mid);
  const ts = event?.record.ts ?? 0;
  const text = troubles[0] === undefined ? "" : toldOf(troubles[0]);
  return { ...blank, seq, eventId, mid, name: "", ts, kind: "unreadable", text };
}

function said(seq: number, eventId: string, { opened }: Taken): Effect {
  if (opened === undefined) return NONE;
  const { event, body } = opened;
  const { content } = body;
  const base = {
    ...blank,
    seq,
    eventId,
    mid: hex(event.mid),
    name: displayName(body.name),
    ts: event.ts,
    // One that shows nothing is no member's word either: it is marked all the same.
    via: body.via === undefined ? "" : displayName(body.via.network) || NAMELESS,
    ...(body.via && { speaker: displayName(body.via.name || body.via.remote_id) }),
  };
  switch (content.type) {
    case "text":
      return {
        type: "add",
        entry: {
          ...base,
          kind: "text",
          text: content.text,
          isMarkdown: content.format === "markdown-lite",
          replyTo: content.reply_to === undefined ? "" : hex(content.reply_to),
          mentions: content.mentions.map(hex),
        },
      };
    case "file":
      return {
        type: "add",
        entry: { ...base, kind: "file", text: content.caption, file: fileInfo(content) },
      };
    case "edit":
    case "reaction":
    case "redact":
      return {
        type: "change",
        seq,
        target: hex(content.target),
        by: base.mid,
        content,
        ts: event.ts,
      };
    case "unknown":
      return { type: "add", entry: { ...base, kind: "unknown", text: displayName(content.of) } };
    default:
      return NONE;
  }
}

function fileInfo(content: Extract<Content, { type: "file" }>): FileInfo {
  return {
    blobId: hex(content.blob_id),
    key: b64encode(content.key),
    size: content.size,
    sha256: hex(content.sha256),
    chunks: content.chunks.map(hex),
    name: displayName(content.name),
    mime: content.mime,
    ...(content.thumb.length > 0 && { thumb: b64encode(content.thumb) }),
  };
}

/** A change of the room that people want to see in their history; `text` is the record's type. */
function changed(seq: number, eventId: string, record: ControlRecord): Effect {
  if (record.type === "genesis" || record.type === "invite_open") return NONE;
  if (record.type === "invite_close" || record.type === "rekey") return NONE;
  if (record.type === "update_e") return NONE; // of no concern to people: it says nothing
  if (record.type === "rekey_boxed" && record.removed.length === 0) return NONE;
  const mid = hex(record.mid);
  const entry = { ...blank, seq, eventId, mid, name: "", ts: record.ts, kind: "change" as const };
  return { type: "add", entry: { ...entry, text: record.type, mentions: concerned(record) } };
}

/** Whom a change of the room is about, in hex. */
function concerned(record: ControlRecord): string[] {
  if (record.type === "admit") return [hex(memberIdOf(record.sign_key))];
  if (record.type === "rekey_boxed") return record.removed.map(hex);
  if (record.type === "grant") return [hex(record.member)];
  return record.type === "handover" ? [hex(record.to)] : [];
}

/** An entry as it reads after `content` of `by`; itself, if that may not change it. */
export function applyChange(entry: Entry, by: string, content: Content, byOwner: boolean): Entry {
  if (content.type === "reaction") return withReaction(entry, by, content);
  if (content.type === "edit" && by === entry.mid && entry.kind === "text") {
    const isMarkdown = content.format === "markdown-lite";
    const mentions = content.mentions.map(hex);
    return { ...entry, text: content.text, isMarkdown, mentions, edited: true };
  }
  if (content.type === "redact" && (by === entry.mid || byOwner)) {
    return { ...entry, ...blank, kind: "redacted", text: displayName(content.reason) };
  }
  return entry;
}

/** The same, and how it read before, if an edit at entry `seq` has changed it from `before`. */
export function withEarlier(changed: Entry, before: Entry, seq: number): Entry {
  const { text, isMarkdown, mentions = [], edited, earlier = [] } = before;
  const version = { until: seq, text, isMarkdown, mentions, edited };
  return { ...changed, earlier: [...earlier, version].slice(-VERSIONS) };
}

/** An entry as it read when the log ended at `seq`: no edit behind that counts. */
export function asOf(entry: Entry, seq: number): Entry {
  const at = entry.earlier?.findIndex(({ until }) => until > seq) ?? -1;
  const version = entry.earlier?.[at];
  if (version === undefined || entry.kind !== "text") return entry;
  const { until: _, ...words } = version;
  return { ...entry, ...words, earlier: entry.earlier?.slice(0, at) };
}

/** The words that the edit at entry `seq` gave it; undefined where they are not there any more. */
export function editedAt(
  entry: Entry,
  seq: number,
): Pick<Entry, "text" | "isMarkdown" | "mentions"> | undefined {
  const at = entry.earlier?.findIndex(({ until }) => until === seq) ?? -1;
  if (at < 0 || entry.kind !== "text") return undefined;
  return entry.earlier?.[at + 1] ?? entry;
}

/** An entry without what a reaction that came to nothing did to it. */
export function withoutReaction(entry: Entry, by: string, emoji: string, was: boolean): Entry {
  return withReaction(entry, by, { emoji, removed: !was });
}

/** Who put an emoji there. Any name may come, that of an object's own members too. */
export const reactionsOf = ({ reactions }: Entry, emoji: string): readonly string[] =>
  Object.hasOwn(reactions, emoji) ? (reactions[emoji] as readonly string[]) : [];

function withReaction(
  entry: Entry,
  by: string,
  { emoji, removed }: Pick<Extract<Content, { type: "reaction" }>, "emoji" | "removed">,
): Entry {
  if (entry.kind !== "text" && entry.kind !== "file") return entry;
  const before = reactionsOf(entry, emoji);
  const isNew = !removed && before.length === 0;
  if (isNew && Object.keys(entry.reactions).length >= REACTIONS) return entry;
  const others = before.filter((mid) => mid !== by);
  const left = removed ? others : [...others, by];
  const { [emoji]: _, ...rest } = entry.reactions;
  return { ...entry, reactions: left.length > 0 ? { ...rest, [emoji]: left } : rest };
}
