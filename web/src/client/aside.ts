/**
 * What stood in a room's log and came to nothing (voiding.ts): kept aside, and shown as void, until its
 * sender has said it again or its person has seen it.
 */

import { fromHex, hex } from "../protocol/bytes.ts";
import type { RecordOf } from "../protocol/records.ts";
import { isOwner } from "../protocol/room.ts";
import { unnamed } from "./blobdrops.ts";
import { contentFrom } from "./contents.ts";
import { type Draft, mark, type RoomCore } from "./core.ts";
import type { Effect, Entry } from "./entries.ts";
import type { Row } from "./journal.ts";
import { enqueued } from "./queued.ts";
import { json } from "./saved.ts";
import { type Cut, padded } from "./tables.ts";

/** What is void, as it stands in the vault, by seq. */
export interface Void {
  readonly rows: ReadonlyMap<number, Row>;
  readonly entries: ReadonlyMap<number, Entry>;
  /** Control records. */
  readonly chain: ReadonlyMap<number, Uint8Array>;
  /** What others read now of what stays, and will not: the words of edits, by seq. */
  readonly edits: ReadonlyMap<number, Entry>;
}

interface Aside extends Entry {
  /** Its person had read it: said again in these words, it is nothing new. */
  readonly wasRead: boolean;
  /** This member, an owner, had it deleted there; what an earlier version kept lacks it. */
  readonly takenBack?: boolean;
}

/** As many are looked at that one sender has made of one sid. */
const ALIKE = 8;

const sidKey = (mid: string, sid: string): string => `${mid} ${sid} `;

/** Nothing stands there any more: what did is kept aside. Of one room, in the turn that cuts its log. */
export async function setAside(core: RoomCore, { turn, saved }: Draft, gone: Void): Promise<void> {
  const { tables, me } = core;
  const deleted = ownDeletions(gone);
  for (const [seq, row] of gone.rows) {
    turn.delete(tables.log, padded(seq));
    turn.delete(tables.index, row.id);
  }
  for (const [seq, { parked: _, earlier: __, ...entry }] of [...gone.entries, ...gone.edits]) {
    const event = gone.rows.get(seq)?.event;
    const key = (event ? sidKey(event.mid, event.sid) : "") + entry.eventId;
    const takenBack = entry.mid !== me && deleted.has(entry.eventId);
    const wasRead = seq <= saved.readUpTo;
    const aside: Aside = { ...entry, wasRead, ...(takenBack && { takenBack }) };
    turn.put(tables.void, key, json.write(aside));
  }
  for (const [seq, { eventId, file, mid }] of gone.entries) {
    turn.delete(tables.archive, padded(seq));
    turn.delete(tables.parked, padded(seq));
    turn.delete(tables.index, eventId);
    if (file !== undefined) await unnamed(core, turn, file.blobId, mid);
  }
}

/** What this member had deleted there: event ids in hex. */
function ownDeletions({ rows }: Void): ReadonlySet<string> {
  const said = [...rows.values()].flatMap(({ words }) => (words ? [contentFrom(words)] : []));
  return new Set(said.flatMap((one) => (one.type === "redact" ? [hex(one.target)] : [])));
}

/**
 * What a message that stands in the log comes to, where its sender had said it before, in these words,
 * in a part that is void: it is so no more, and whoever has read it then has nothing new to read. An
 * owner who had it deleted there does so again.
 */
export async function again(
  { vault, tables, me }: RoomCore,
  { turn, marks, view }: Draft,
  effect: Effect,
  event: Pick<RecordOf<"event">, "mid" | "sid"> | undefined,
): Promise<Effect> {
  if (marks.cut === undefined || event === undefined) return effect;
  const prefix = sidKey(hex(event.mid), hex(event.sid));
  const found = await vault.archived(tables.void, { before: `${prefix}\uffff`, limit: ALIKE });
  const alike = found
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, raw]) => [key, json.read<Aside>(raw)] as const)
    .filter(([, kept]) => isSame(kept, effect));
  for (const [key] of alike) turn.delete(tables.void, key);
  const wasRead = alike.some(([, kept]) => kept.wasRead && kept.kind !== "unreadable");
  if (effect.type !== "add") return effect;
  const myself = view.state.members.get(me);
  if (alike.some(([, { takenBack }]) => takenBack) && myself !== undefined && isOwner(myself)) {
    const target = fromHex(effect.entry.eventId);
    enqueued(turn, tables, { type: "redact", target, reason: "" });
  }
  if (!wasRead) return effect;
  return { ...effect, entry: { ...effect.entry, again: true } };
}

/** Whether it says what was kept; or says anything, of what had no words here. */
function isSame(kept: Aside, effect: Effect): boolean {
  if (effect.type === "none") return false;
  const isWordless = kept.kind === "unreadable" || kept.kind === "redacted";
  if (effect.type === "add") {
    const { kind } = effect.entry;
    if (isWordless) return kind !== "unreadable";
    return kept.kind === kind && wordsOf(kept) === wordsOf(effect.entry);
  }
  const { content } = effect;
  if (content.type !== "edit") return false;
  const { text, format } = content;
  return wordsOf({ ...kept, text, isMarkdown: format === "markdown-lite" }) === wordsOf(kept);
}

const wordsOf = ({ text, isMarkdown, file, speaker = "", via }: Entry): string =>
  JSON.stringify([text, isMarkdown, via, speaker, file?.blobId, file?.key, file?.sha256]);

/** One's own words among it, which were deleted. */
export function forgetWords(
  { tables, me }: RoomCore,
  { turn }: Draft,
  { sid, eventId }: { readonly sid: string; readonly eventId: string },
): void {
  turn.delete(tables.void, sidKey(me, sid) + eventId);
}

/** All of it, oldest first. */
export async function voided({ vault, tables }: RoomCore): Promise<Entry[]> {
  const found = await vault.archived(tables.void, { limit: Number.POSITIVE_INFINITY });
  const entries = found.map(([, raw]) => json.read<Aside>(raw));
  return entries.sort((one, other) => one.seq - other.seq);
}

/** Its person has seen that. */
export async function forgetVoided(core: RoomCore): Promise<void> {
  await core.change(async (draft) => {
    const { tables, vault } = core;
    const found = await vault.archived(tables.void, { limit: Number.POSITIVE_INFINITY });
    for (const [id] of found) draft.turn.delete(tables.void, id);
    mark(draft, { cut: undefined });
  });
}

/** What a person is told of it; `entries` of the log, of which `own` words are said again. */
export function cutOf({ entries: kept, edits, chain }: Void, entries: number, own: number): Cut {
  const said = [...kept.values()].filter(({ kind }) => kind !== "change");
  return { entries, messages: said.length + edits.size, controls: chain.size, own };
}

export const sum = (one: Cut | undefined, other: Cut): Cut => ({
  entries: (one?.entries ?? 0) + other.entries,
  messages: (one?.messages ?? 0) + other.messages,
  controls: (one?.controls ?? 0) + other.controls,
  own: (one?.own ?? 0) + other.own,
});
