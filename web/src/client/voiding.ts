/**
 * The end of a room's log came to nothing: root moved the room by force (ofcd/client/voiding.py;
 * docs/protocol.md, A hub that is gone for good).
 *
 * The relay shows the moves; that they are root's, and how far this log holds beside them, is checked
 * here. Then, in one turn, all behind that is taken back: what is void is set aside and told, and this
 * member's own words among it are said again. Like what waits, they are sealed anew.
 */

import type { Content } from "../e2e/bodies.ts";
import type { EpochKeys } from "../e2e/epochs.ts";
import { turnedTo } from "../e2e/keys.ts";
import { type RoomLog, resumedLog, type SenderHead, type Senders } from "../e2e/log.ts";
import { isNext, Moves, type Parting } from "../e2e/moves.ts";
import { fromHex, hex } from "../protocol/bytes.ts";
import type { RecordOf } from "../protocol/records.ts";
import { isRefusal, Refused, type RoomState } from "../protocol/room.ts";
import { warn } from "./alarms.ts";
import { contentFrom } from "./contents.ts";
import { amend, type Draft, mark, type RoomCore } from "./core.ts";
import { asOf, type Entry, editedAt, refOf, withoutReaction } from "./entries.ts";
import { type Chained, hashOf, type Row, rowsBehind, stateAt } from "./journal.ts";
import { json } from "./saved.ts";
import { CHECKPOINT, type Cut, padded, type Tables } from "./tables.ts";
import { told } from "./told.ts";
import type { Vault } from "./vault.ts";

/** Own words that came to nothing: as an event they were number `counter`. Ids are hex. */
export interface Said {
  readonly content: Content;
  readonly sid: string;
  readonly ts: number;
  readonly counter: number;
  readonly eventId: string;
}

/** What came of the moves that a relay tells. */
export interface TakenBack {
  readonly parting: Parting;
  readonly said: readonly Said[];
}

/** What is void, as it stands in the vault, by seq. */
interface Void {
  readonly rows: ReadonlyMap<number, Row>;
  readonly entries: ReadonlyMap<number, Entry>;
}

const NO_SID = new Uint8Array(16);

/**
 * Take back what is void, as these HUB_MOVEs have it; undefined where nothing is. Throws `Refused` or
 * `Malformed` for what proves nothing.
 */
export async function takeMoves(
  core: RoomCore,
  draft: Draft,
  records: readonly Uint8Array[],
): Promise<TakenBack | undefined> {
  const { state, log } = draft.view;
  const moves = Moves.read(state.room, records);
  const missing = moves.firstMissing(state);
  if (missing === undefined) return undefined;
  if (moves.isRival(state)) {
    moves.checkClaim(state);
    warn(draft, told("two_moves"));
  }
  const parting = await parted(core, draft, moves, missing);
  if (parting === undefined || parting.base >= log.seq) return undefined;
  moves.check(parting, state, state); // what is forged costs no more than this
  const then = await standing(core, draft, parting);
  if (then === undefined) return undefined;
  moves.check(parting, then.state, state);
  return takeBack(core, draft, parting, then);
}

/** Where the own log parts from theirs. A room of two histories is frozen. */
async function parted(
  core: RoomCore,
  draft: Draft,
  moves: Moves,
  { seen: { seq } }: RecordOf<"hub_move">,
): Promise<Parting | undefined> {
  const { state, log } = draft.view;
  try {
    return moves.part(state, log.seq, await hashOf(core, log, seq));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.code !== "fork") return undefined; // the own last move counts
    moves.checkClaim(state);
    amend(draft, { status: "frozen", reason: told("log.fork", seq), code: "" });
    return undefined;
  }
}

interface Standing {
  readonly state: RoomState;
  readonly log: RoomLog;
}

/** The room and its log where it holds. A room of which that can not be told is frozen. */
async function standing(
  core: RoomCore,
  draft: Draft,
  parting: Parting,
): Promise<Standing | undefined> {
  const { base, first } = parting;
  const { log: now } = draft.view;
  const { room } = now;
  const known = await hashOf(core, now, base);
  const hash = known ?? (isNext(parting) ? first.record.seen.log : undefined);
  const recent = now.recent.slice(0, Math.max(0, now.recent.length - (now.seq - base)));
  try {
    const state = await stateAt(core, draft.view.state, base);
    if (hash === undefined) throw new Refused("not_found");
    const start = Math.min(now.start, base);
    const hashes = recent.length > 0 ? recent : [hash];
    return { state, log: resumedLog(room, base, hash, hashes, start) };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    // A vault of an earlier version, which had no link to the relay since, or one that was damaged.
    amend(draft, { status: "frozen", reason: told("move_unknown"), code: "" });
    return undefined;
  }
}

async function takeBack(
  core: RoomCore,
  draft: Draft,
  parting: Parting,
  { state, log }: Standing,
): Promise<TakenBack> {
  const { base } = parting;
  const { view: before } = draft;
  const gone = await voidBehind(core.vault, core.tables, base, before.log.seq);
  const said = await ownWords(core, gone, base);
  await restore(core, draft, gone, base);
  setAside(core, draft, gone);
  const member = state.members.get(core.me);
  const mine = member ? turnedTo(before.mine, member.encKey, Date.now()) : before.mine;
  const isKnown = gone.rows.has(base + 1);
  draft.view = {
    mine,
    state,
    log: isKnown ? log : { ...log, start: base },
    keys: held(before.keys, state.epoch),
    senders: isKnown ? sendersBefore(before.senders, gone.rows) : new Map(),
  };
  forget(core, draft, gone, base);
  const cut = cutOf(gone, before.log.seq - base, said.length);
  mark(draft, { cut: sum(draft.marks.cut, cut) });
  const evicted = [...before.state.departed]
    .filter(([mid, why]) => why === "evicted" && state.members.has(mid))
    .map(([mid]) => nameIn(core, mid) || mid.slice(0, 8));
  if (member === undefined) {
    amend(draft, { status: "removed", reason: told("admission_void"), code: "" });
  }
  if (evicted.length > 0) warn(draft, told("eviction_void", evicted.join(", ")));
  return { parting, said };
}

function nameIn({ vault, tables }: RoomCore, mid: string): string {
  const raw = vault.get(tables.names, mid);
  return raw === undefined ? "" : json.read<string>(raw);
}

// -- what is void ---------------------------------------------------------------------------------

async function voidBehind(
  vault: Vault,
  { log, archive }: Tables,
  base: number,
  end: number,
): Promise<Void> {
  // Behind the end there may be some of when one was in the room before.
  const rows = (await rowsBehind(vault, log, base)).filter(([seq]) => seq <= end);
  const entries = await rowsBehind(vault, archive, base);
  return {
    rows: new Map(rows.map(([seq, raw]) => [seq, json.read<Row>(raw)])),
    entries: new Map(entries.map(([seq, raw]) => [seq, json.read<Entry>(raw)])),
  };
}

/** Nothing stands there any more: what did is kept aside. */
function setAside({ tables }: RoomCore, { turn }: Draft, { rows, entries }: Void): void {
  for (const [seq, row] of rows) {
    turn.delete(tables.log, padded(seq));
    turn.delete(tables.index, row.id);
    if (row.isControl) turn.delete(tables.chain, padded(seq));
  }
  for (const [seq, { parked: _, earlier: __, ...entry }] of entries) {
    turn.delete(tables.archive, padded(seq));
    turn.delete(tables.parked, padded(seq));
    turn.delete(tables.index, entry.eventId);
    const event = rows.get(seq)?.event;
    const key = event ? voidKey(event.mid, event.sid) : entry.eventId;
    turn.put(tables.void, key, json.write(entry));
  }
}

const voidKey = (mid: string, sid: string): string => `${mid} ${sid}`;

/** A message stands in the log: if it did before, in a part that is void, it is that no more. */
export function saidAgain(
  { turn, marks }: Draft,
  { void: table }: Tables,
  { mid, sid }: Pick<RecordOf<"event">, "mid" | "sid">,
): void {
  if (marks.cut !== undefined) turn.delete(table, voidKey(hex(mid), hex(sid)));
}

/** What stood in the log, came to nothing, and was not said again. */
export async function voided({ vault, tables }: RoomCore): Promise<Entry[]> {
  const found = await vault.archived(tables.void, { limit: Number.POSITIVE_INFINITY });
  const entries = found.map(([, raw]) => json.read<Entry>(raw));
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

function cutOf({ rows, entries: kept }: Void, entries: number, own: number): Cut {
  const said = [...kept.values()].filter(({ kind }) => kind !== "change");
  const controls = [...rows.values()].filter(({ isControl }) => isControl);
  return { entries, messages: said.length, controls: controls.length, own };
}

const sum = (one: Cut | undefined, other: Cut): Cut => ({
  entries: (one?.entries ?? 0) + other.entries,
  messages: (one?.messages ?? 0) + other.messages,
  controls: (one?.controls ?? 0) + other.controls,
  own: (one?.own ?? 0) + other.own,
});

// -- what stays, as it was ------------------------------------------------------------------------

/** Entries that stay read as they did: by no edit and no reaction of what is void. */
async function restore(core: RoomCore, { turn }: Draft, { rows }: Void, base: number) {
  const { archive } = core.tables;
  for (const [, { event, touch }] of [...rows].reverse()) {
    if (event === undefined || touch === undefined) continue;
    const target = await entryOf(core, touch.target, turn);
    if (target === undefined || target.seq > base) continue;
    const { reaction } = touch;
    const changed =
      reaction === undefined
        ? asOf(target, base)
        : withoutReaction(target, event.mid, reaction.emoji, reaction.was);
    turn.put(archive, padded(target.seq), json.write(changed));
  }
}

async function entryOf(
  { vault, tables }: RoomCore,
  id: string,
  turn?: Draft["turn"],
): Promise<Entry | undefined> {
  const at = await vault.fetch(tables.index, id);
  if (at === undefined) return undefined;
  const key = padded(json.read<number>(at));
  const raw = turn?.get(tables.archive, key) ?? (await vault.fetch(tables.archive, key));
  return raw === undefined ? undefined : json.read<Entry>(raw);
}

/** How far each sender had come before what is void. */
function sendersBefore(senders: Senders, rows: Void["rows"]): Senders {
  const heads = new Map(senders);
  for (const { event } of [...rows.values()].reverse()) {
    if (event === undefined) continue;
    if (event.counter === 1) heads.delete(event.mid);
    else heads.set(event.mid, headBefore(event));
  }
  return heads;
}

const headBefore = ({ counter, prev, sidBefore }: Chained): SenderHead => ({
  counter: counter - 1,
  eventId: fromHex(prev),
  sid: sidBefore ? fromHex(sidBefore) : NO_SID,
  voided: [],
  certain: true,
});

/** A key of an epoch that is void is nobody's to use again. */
const held = ({ nonce, keys }: EpochKeys, epoch: number): EpochKeys => ({
  nonce,
  keys: new Map([...keys].filter(([of]) => of <= epoch)),
});

/** What is remembered of the log's end. */
function forget(core: RoomCore, draft: Draft, { rows }: Void, base: number): void {
  const { turn, marks, saved } = draft;
  const { state } = core.tables;
  const reached = Object.entries(marks.reached).map(([mid, seq]) => [mid, Math.min(seq, base)]);
  const isOwn = [...rows.values()].some(({ event }) => event?.mid === core.me);
  mark(draft, {
    since: Date.now(),
    said: Math.min(marks.said, base),
    unconfirmed: Math.min(marks.unconfirmed, base),
    reached: Object.fromEntries(reached),
    ownSeq: Math.min(marks.ownSeq, base),
    othersSeq: Math.min(marks.othersSeq, base),
    ...(isOwn && { ownCounter: 0, ownLast: "" }),
  });
  amend(draft, { readUpTo: Math.min(saved.readUpTo, base) });
  const raw = turn.get(state, CHECKPOINT);
  if (raw !== undefined && json.read<{ seq: number }>(raw).seq > base) {
    turn.delete(state, CHECKPOINT);
  }
}

// -- one's own words ------------------------------------------------------------------------------

/** What this member said, to be said again: each under its sid, as it reads now. */
async function ownWords(core: RoomCore, { rows, entries }: Void, base: number): Promise<Said[]> {
  const said: Said[] = [];
  const gone = new Set([...rows.values()].map(({ id }) => id));
  for (const [seq, { id, event, touch, words }] of rows) {
    if (event?.mid !== core.me) continue;
    const entry = entries.get(seq);
    const { counter, sid } = event;
    let content: Content | undefined;
    if (entry !== undefined) content = asItReads(entry);
    else if (words !== undefined) content = contentFrom(words);
    else if (touch !== undefined) content = await editOf(core, touch.target, seq, base);
    if (content === undefined || NOT_AGAIN.has(content.type) || isOf(content, gone)) continue;
    said.push({ content, sid, ts: entry?.ts ?? Date.now(), counter, eventId: id });
  }
  return said;
}

const NOT_AGAIN: ReadonlySet<string> = new Set([
  "beat",
  "compare",
  "compare_end",
  "handover_offer",
  "handover_accept",
]);

/** Whether it is about what is void itself: there is nothing left of that to change. */
const isOf = (content: Content, gone: ReadonlySet<string>): boolean =>
  "target" in content && content.target !== undefined && gone.has(hex(content.target));

/** An edit of what is void has become the text itself. */
function asItReads({ kind, text, isMarkdown, replyTo, mentions, file }: Entry) {
  if (kind === "text") {
    return {
      type: "text",
      text,
      format: isMarkdown ? "markdown-lite" : "plain",
      reply_to: replyTo ? fromHex(replyTo) : undefined,
      thread: undefined,
      mentions: (mentions ?? []).map(fromHex),
    } as const;
  }
  if (kind !== "file" || file === undefined) return undefined;
  const { name, mime } = file;
  return { type: "file", ...refOf(file), name, mime, caption: text } as const;
}

/** One's edit, at entry `seq`, of a message that stays. */
async function editOf(
  core: RoomCore,
  id: string,
  seq: number,
  base: number,
): Promise<Content | undefined> {
  const target = await entryOf(core, id);
  const words = target && target.seq <= base ? editedAt(target, seq) : undefined;
  if (words === undefined) return undefined;
  return {
    type: "edit",
    target: fromHex(id),
    text: words.text,
    format: words.isMarkdown ? "markdown-lite" : "plain",
    mentions: (words.mentions ?? []).map(fromHex),
  };
}
