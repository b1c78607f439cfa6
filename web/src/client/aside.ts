/**
 * What stood in a room's log and came to nothing (voiding.ts): kept aside, and shown as void, until its
 * sender has said it again or its person has seen it.
 */

import { fromHex, hex, utf8 } from "../protocol/bytes.ts";
import { sha256 } from "../protocol/ids.ts";
import type { RecordOf } from "../protocol/records.ts";
import { isOwner } from "../protocol/room.ts";
import { unnamed } from "./blobdrops.ts";
import { contentFrom } from "./contents.ts";
import { type Draft, mark, type RoomCore } from "./core.ts";
import { blank, type Effect, type Entry, idsOf } from "./entries.ts";
import { find, type Row } from "./journal.ts";
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
  /** Its person has seen it, and it is shown no more: what is left of its words is their digest. */
  readonly digest?: string;
}

/** As many are looked at that one sender has made of one sid. */
const ALIKE = 8;
/** As many that their person has seen are kept, the last ones, to know them when they are said again. */
export const SEEN_KEPT = 1_000;
/** Former ids of one message that are kept beside the first. */
const FORMER = 7;

export const sidKey = (mid: string, sid: string): string => `${mid} ${sid} `;

/** Nothing stands there any more: what did is kept aside. Of one room, in the turn that cuts its log. */
export async function setAside(core: RoomCore, { turn, saved }: Draft, gone: Void): Promise<void> {
  const { tables, me } = core;
  const deleted = ownDeletions(gone);
  for (const seq of gone.rows.keys()) turn.delete(tables.log, padded(seq));
  for (const [seq, { parked: _, earlier: __, ...entry }] of [...gone.entries, ...gone.edits]) {
    const event = gone.rows.get(seq)?.event;
    const key = (event ? sidKey(event.mid, event.sid) : "") + entry.eventId;
    const takenBack = entry.mid !== me && deleted.has(entry.eventId);
    const wasRead = seq <= saved.readUpTo;
    const aside: Aside = { ...entry, wasRead, ...(takenBack && { takenBack }) };
    turn.put(tables.void, key, json.write(aside));
  }
  for (const [seq, entry] of gone.entries) {
    const { file, mid } = entry;
    turn.delete(tables.archive, padded(seq));
    turn.delete(tables.parked, padded(seq));
    for (const id of idsOf(entry)) {
      if ((await find(core, id))?.seq === seq) turn.delete(tables.index, id);
    }
    if (file !== undefined) await unnamed(core, turn, file.blobId, mid);
  }
}

/** What this member had deleted there: event ids in hex. */
function ownDeletions({ rows }: Void): ReadonlySet<string> {
  const said = [...rows.values()].flatMap(({ words }) => (words ? [contentFrom(words)] : []));
  return new Set(said.flatMap((one) => (one.type === "redact" ? [hex(one.target)] : [])));
}

/**
 * What entry `id` of the log comes to, where it, or its sender's same words, stood in a part that is void:
 * it is so no more, and is found by the ids it had there; whoever has read it then has nothing new to
 * read. An owner who had it deleted there does so again.
 */
export async function again(
  { vault, tables, me }: RoomCore,
  { turn, marks, view }: Draft,
  id: string,
  effect: Effect,
  event: Pick<RecordOf<"event">, "mid" | "sid"> | undefined,
): Promise<Effect> {
  if (marks.cuts === 0) return effect;
  turn.delete(tables.void, id); // a control record's, or of a row of an earlier version
  if (event === undefined) return effect;
  const prefix = sidKey(hex(event.mid), hex(event.sid));
  const found = await vault.archived(tables.void, { before: `${prefix}\uffff`, limit: ALIKE });
  const alike = found
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, raw]) => [key, json.read<Aside>(raw)] as const)
    .filter(([, kept]) => isSame(kept, id, effect));
  for (const [key] of alike) turn.delete(tables.void, key);
  if (effect.type !== "add" || alike.length === 0) return effect;
  const wasRead = alike.some(([, kept]) => kept.wasRead && kept.kind !== "unreadable");
  const myself = view.state.members.get(me);
  if (alike.some(([, { takenBack }]) => takenBack) && myself !== undefined && isOwner(myself)) {
    enqueued(turn, tables, { type: "redact", target: fromHex(id), reason: "" });
  }
  const former = new Set(alike.flatMap(([, kept]) => idsOf(kept)).filter((one) => one !== id));
  const [first = id, ...more] = former;
  const formerIds = first === id ? [] : [first, ...more.slice(-FORMER)];
  return { ...effect, entry: { ...effect.entry, ...(wasRead && { again: true }), formerIds } };
}

/** Whether it is what was kept, or says it; or says anything, of what had no words here. */
function isSame(kept: Aside, id: string, effect: Effect): boolean {
  if (effect.type === "none") return false;
  const digest = kept.digest ?? digestOf(kept);
  if (effect.type === "add") {
    const { kind } = effect.entry;
    if (kind === "unreadable") return false; // as long as it is
    const isWordless = kept.kind === "unreadable" || kept.kind === "redacted";
    if (isWordless || kept.eventId === id) return true;
    return kept.kind === kind && digest === digestOf(effect.entry);
  }
  const { content } = effect;
  if (content.type !== "edit") return false;
  if (kept.eventId === id) return true;
  const { text, format } = content;
  return digest === digestOf({ ...kept, text, isMarkdown: format === "markdown-lite" });
}

const digestOf = ({ text, isMarkdown, file, speaker = "", via }: Entry): string => {
  const words = [text, isMarkdown, via, speaker, file?.blobId, file?.key, file?.sha256];
  return hex(sha256(utf8(JSON.stringify(words))));
};

/** The `sidKey` of what has this event id there, and was not said again (yet); undefined: it is not there. */
export async function voidOf(core: RoomCore, id: string): Promise<string | undefined> {
  const found = (await kept(core)).find(([, aside]) => idsOf(aside).includes(id));
  return found?.[0].slice(0, -id.length);
}

/** All of it that its person has not seen, oldest first. */
export async function voided(core: RoomCore): Promise<Entry[]> {
  const entries = (await kept(core)).map(([, aside]) => aside);
  return entries
    .filter(({ digest }) => digest === undefined)
    .sort((one, other) => one.seq - other.seq);
}

async function kept({ vault, tables }: RoomCore): Promise<(readonly [string, Aside])[]> {
  const found = await vault.archived(tables.void, { limit: Number.POSITIVE_INFINITY });
  return found.map(([key, raw]) => [key, json.read<Aside>(raw)]);
}

/** Its person has seen that: its words are kept no longer, but what it takes to know them again. */
export async function forgetVoided(core: RoomCore): Promise<void> {
  await core.change(async (draft) => {
    const { tables } = core;
    const all = (await kept(core)).sort(([, one], [, other]) => other.seq - one.seq);
    for (const [at, [key, aside]] of all.entries()) {
      // What was deleted there is deleted again, however long that takes.
      if (at >= SEEN_KEPT && !aside.takenBack) {
        draft.turn.delete(tables.void, key);
        continue;
      }
      const { name: _, mentions: __, ...rest } = aside;
      const digest = aside.digest ?? digestOf(aside);
      const seen: Aside = { ...rest, ...blank, name: "", via: aside.via, digest };
      draft.turn.put(tables.void, key, json.write(seen));
    }
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
