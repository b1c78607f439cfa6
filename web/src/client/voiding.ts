/**
 * The end of a room's log came to nothing: root moved the room by force (ofcd/client/voiding.py;
 * docs/protocol.md, A hub that is gone for good).
 *
 * The relay shows the moves; that they are root's, and how far this log holds beside them, is checked
 * here. Then, in one turn, all behind that is taken back: what is void is set aside and told, and this
 * member's own words among it are said again. Like what waits, they are sealed anew.
 */

import type { Content } from "../e2e/bodies.ts";
import { applyVerified } from "../e2e/chain.ts";
import type { EpochKeys } from "../e2e/epochs.ts";
import { turnedTo } from "../e2e/keys.ts";
import { type RoomLog, resumedLog, type SenderHead, type Senders, unknownLog } from "../e2e/log.ts";
import {
  checkClaim,
  checkRoot,
  isNext,
  Moves,
  type News,
  type Parting,
  readMove,
  type SignedMove,
  seenOf,
} from "../e2e/moves.ts";
import type { View } from "../e2e/view.ts";
import { b64decode, equal, fromHex, hex } from "../protocol/bytes.ts";
import { isRefusal, Refused, type RoomState } from "../protocol/room.ts";
import { warn } from "./alarms.ts";
import { say } from "./aliases.ts";
import { cutOf, setAside, sum, type Void } from "./aside.ts";
import { contentFrom } from "./contents.ts";
import { amend, type Draft, isEvicted, MAYBE_BACK, mark, type RoomCore, thaw } from "./core.ts";
import { asOf, blank, type Entry, editedAt, refOf, withoutReaction } from "./entries.ts";
import { keepEvidence } from "./evidence.ts";
import {
  type Chained,
  dropChain,
  find,
  hashOf,
  nameMoves,
  type Row,
  rowsBehind,
  stateAt,
} from "./journal.ts";
import { json } from "./saved.ts";
import { AHEAD, CHECKPOINT, padded, vouchedIn } from "./tables.ts";
import { told } from "./told.ts";

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

/** Entries that are looked through for the last words of those whose later ones are void. */
const LOOK_BACK = 2_000;
const NO_SID = new Uint8Array(16);
const TWO_MOVES = told("two_moves");

/**
 * Take back what is void, as these HUB_MOVEs have it; undefined where nothing is. Throws `Refused` or
 * `Malformed` for what proves nothing.
 */
export async function takeMoves(
  core: RoomCore,
  draft: Draft,
  records: readonly Uint8Array[],
): Promise<TakenBack | undefined> {
  const moves = Moves.read(draft.view.state.room, records);
  if (!(await nameMoves(core, draft))) return undefined; // which of them are here is not known yet
  const { state, log } = draft.view;
  await flag(core, draft, moves);
  const news = newsIn(core, moves, state);
  if (news === undefined) return undefined;
  checkClaim(news, state); // what is forged costs no more than this: nothing was loaded
  noteTerms(core, draft, news);
  const parting = await parted(core, draft, moves, news);
  if (parting === undefined) return undefined;
  if (parting.base >= log.seq) {
    checkNext(parting, state);
    keepAhead(core, draft, parting);
    if (isForced(news)) {
      thaw(draft);
      forgetVouched(core, draft, parting.base);
      askAgain(draft);
    }
    return undefined;
  }
  const then = await standing(core, draft, parting);
  if (then === undefined) return undefined;
  checkRoot(then.state, state);
  checkNext(parting, then.state);
  keepAhead(core, draft, parting);
  thaw(draft);
  return takeBack(core, draft, parting, then);
}

/** It has to hold there: nothing follows from a move that no log can have. Throws `Refused`. */
function checkNext(parting: Parting, state: RoomState): void {
  if (isNext(parting)) applyVerified(state, parting.first.envelope, parting.base + 1);
}

/** Those that count, and are not here; undefined: none. */
function newsIn(core: RoomCore, moves: Moves, state: RoomState): News | undefined {
  const ahead = aheadIn(core, state);
  try {
    // The one that was taken may have to be taken again: a relay may have shown more since.
    return moves.news(state, ahead && moves.has(ahead) ? undefined : ahead);
  } catch (error) {
    if (error instanceof Refused && error.code === "conflict") return undefined;
    throw error;
  }
}

/** What was taken last, and may yet come in the log: not behind another move, nor of who was root before. */
function aheadIn({ vault, tables }: RoomCore, state: RoomState): SignedMove | undefined {
  const raw = vault.get(tables.state, AHEAD);
  if (raw === undefined) return undefined;
  const ahead = readMove(raw);
  const isPassed = state.moved.some(({ since }) => since > seenOf(ahead).seq);
  return isPassed || !equal(ahead.record.mid, state.root) ? undefined : ahead;
}

/** A vault that was put back learns what it had signed by force, as root: no lesser term is signed again. */
function noteTerms({ me }: RoomCore, draft: Draft, news: News): void {
  if (hex(draft.view.state.root) !== me) return;
  const { forcedTerm, signedTerm } = draft.marks;
  const forced = news.filter(({ record }) => record.force).map(({ record }) => record.term);
  const term = Math.max(forcedTerm, ...forced);
  if (term > forcedTerm) mark(draft, { forcedTerm: term, signedTerm: Math.max(term, signedTerm) });
}

/** What was taken, and is yet to come in the log: no lesser one counts meanwhile. */
function keepAhead({ tables }: RoomCore, { turn }: Draft, { last }: Parting): void {
  const kept = turn.get(tables.state, AHEAD);
  if (kept === undefined || !equal(kept, last.envelope)) {
    turn.put(tables.state, AHEAD, last.envelope);
  }
}

const isForced = (news: News): boolean => news.some(({ record }) => record.force);

/** Root has signed two moves of one term: people are told, and both are kept. */
async function flag(core: RoomCore, draft: Draft, moves: Moves): Promise<void> {
  const { state } = draft.view;
  const rivals = moves.rivals(state);
  if (rivals.length === 0) return;
  checkClaim(
    rivals.map(([, told]) => told),
    state,
  );
  for (const [{ since }, told] of rivals) {
    const own = await core.vault.fetch(core.tables.chain, padded(since));
    if (own === undefined) continue;
    const both = [own, told.envelope];
    if (keepEvidence(draft.turn, core.tables, both, "proof")) warn(draft, TWO_MOVES);
  }
}

/** Who was evicted in what is void is a member again: the relay is asked to let it in. */
function comeBack(draft: Draft): void {
  if (!isEvicted(draft.saved)) return;
  amend(draft, { status: "active", reason: "", code: "" });
  warn(draft, told("removal_void"));
}

/** What it was evicted in is not here: whether that is void shows when the relay lets it in. */
function askAgain(draft: Draft): void {
  if (isEvicted(draft.saved)) amend(draft, { status: "active", reason: "", code: MAYBE_BACK });
}

/** Where the own log parts from theirs. A room of two histories is frozen. */
async function parted(
  core: RoomCore,
  draft: Draft,
  moves: Moves,
  news: News,
): Promise<Parting | undefined> {
  const { state, log } = draft.view;
  const { seq } = seenOf(news[0]);
  try {
    return moves.part(news, state, log.seq, await hashOf(core, log, seq));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.code !== "fork" || isEvicted(draft.saved)) return undefined; // the own log counts
    amend(draft, { status: "frozen", reason: told("log.fork", seq), code: "" });
    keepEvidence(draft.turn, core.tables, [news[0].envelope], "proof");
    return undefined;
  }
}

interface Standing {
  readonly state: RoomState;
  readonly log: RoomLog;
}

/**
 * The room and its log where it holds: in a stretch that was never read, the relay tells L (attaching.ts).
 * A room whose state there can not be told is frozen.
 */
async function standing(
  core: RoomCore,
  draft: Draft,
  parting: Parting,
): Promise<Standing | undefined> {
  const { base, first } = parting;
  const { log: now } = draft.view;
  const { room } = now;
  const known = await hashOf(core, now, base);
  const hash = known ?? (isNext(parting) ? first.record.seen.log : undefined); // root's own word
  const recent = now.recent.slice(0, Math.max(0, now.recent.length - (now.seq - base)));
  try {
    const state = await stateAt(core, draft.view.state, base);
    if (hash === undefined) return { state, log: unknownLog(room, base) };
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
  const gone = await voidBehind(core, base, before.log.seq);
  const said = await ownWords(core, gone, base);
  await restore(core, draft, gone, base);
  await setAside(core, draft, gone);
  dropChain(draft.turn, core.tables, gone.chain);
  const member = state.members.get(core.me);
  const mine = member ? turnedTo(before.mine, member.encKey, Date.now()) : before.mine;
  const { start } = before.log;
  const isWhole = gone.rows.size === before.log.seq - Math.max(base, start); // else of an earlier version
  draft.view = {
    mine,
    state,
    log: isWhole ? log : { ...log, start: base },
    keys: held(before.keys, state.epoch),
    senders: isWhole ? await sendersBefore(core, before, gone.rows, base) : new Map(),
  };
  forget(core, draft, gone, base, base < start);
  const cut = cutOf(gone, before.log.seq - base, said.length);
  mark(draft, { cut: sum(draft.marks.cut, cut), cuts: draft.marks.cuts + 1 });
  const evicted = [...before.state.departed]
    .filter(([mid, why]) => why === "evicted" && state.members.has(mid))
    .map(([mid]) => nameIn(core, mid) || mid.slice(0, 8));
  if (member === undefined) {
    amend(draft, { status: "removed", reason: told("admission_void"), code: "" });
  } else comeBack(draft);
  if (evicted.length > 0) warn(draft, told("eviction_void", evicted.join(", ")));
  return { parting, said };
}

function nameIn({ vault, tables }: RoomCore, mid: string): string {
  const raw = vault.get(tables.names, mid);
  return raw === undefined ? "" : json.read<string>(raw);
}

// -- what is void ---------------------------------------------------------------------------------

async function voidBehind(core: RoomCore, base: number, end: number): Promise<Void> {
  const { vault, tables } = core;
  // Behind the end there may be some of when one was in the room before.
  const found = (await rowsBehind(vault, tables.log, base)).filter(([seq]) => seq <= end);
  const rows = new Map(found.map(([seq, raw]) => [seq, json.read<Row>(raw)]));
  const kept = await rowsBehind(vault, tables.archive, base);
  return {
    rows,
    entries: new Map(kept.map(([seq, raw]) => [seq, json.read<Entry>(raw)])),
    chain: new Map(await rowsBehind(vault, tables.chain, base)),
    edits: await editsIn(core, rows, base),
  };
}

/** The words that void edits gave to what stays: no history shows them any more. */
async function editsIn(core: RoomCore, rows: Void["rows"], base: number) {
  const edits = new Map<number, Entry>();
  for (const [seq, { id, event, touch }] of rows) {
    if (event === undefined || touch === undefined || touch.reaction !== undefined) continue;
    const target = await find(core, touch.target);
    const words = target && target.seq <= base ? editedAt(target, seq) : undefined;
    if (target === undefined || words === undefined) continue;
    const { text, isMarkdown, mentions = [] } = words;
    const { name, via, mid } = target;
    const about = { seq, eventId: id, mid, name, ts: touch.ts ?? target.ts, kind: "text" } as const;
    const said = { text, isMarkdown, mentions, via, edited: true, replyTo: touch.target };
    edits.set(seq, { ...blank, ...about, ...said });
  }
  return edits;
}

// -- what stays, as it was ------------------------------------------------------------------------

/** Entries that stay read as they did, by no edit and no reaction of what is void; so do aliases. */
async function restore(core: RoomCore, { turn }: Draft, { rows }: Void, base: number) {
  const { archive } = core.tables;
  for (const [, { event, touch, alias }] of [...rows].reverse()) {
    if (event !== undefined && alias !== undefined)
      say(turn, core.tables, event.mid, alias.member, alias.was);
    if (event === undefined || touch === undefined) continue;
    const target = await find(core, touch.target, turn);
    if (target === undefined || target.seq > base) continue;
    const { reaction } = touch;
    const changed =
      reaction === undefined
        ? asOf(target, base)
        : withoutReaction(target, event.mid, reaction.emoji, reaction.was);
    turn.put(archive, padded(target.seq), json.write(changed));
  }
}

/** How far each sender had come before what is void behind `base`; at least, where that begins in a gap. */
async function sendersBefore(
  core: RoomCore,
  { senders, log }: View,
  rows: Void["rows"],
  base: number,
): Promise<Senders> {
  const heads = new Map(senders);
  const missed = new Set<string>();
  for (const { event } of [...rows.values()].reverse()) {
    if (event === undefined) continue;
    // What it said in the gap is void, or not: nobody here knows.
    const isMissed = event.counter !== 1 && base < log.start && event.sidBefore === "";
    if (event.counter === 1 || isMissed) heads.delete(event.mid);
    else heads.set(event.mid, headBefore(event));
    if (isMissed) missed.add(event.mid);
    else missed.delete(event.mid);
  }
  for (const [mid, head] of await lastWords(core, missed, base)) heads.set(mid, head);
  return heads;
}

/** The last event up to `base` of each of these, if it is near: more may hold that was not read. */
async function lastWords(
  { vault, tables }: RoomCore,
  sought: ReadonlySet<string>,
  base: number,
): Promise<ReadonlyMap<string, SenderHead>> {
  const found = new Map<string, SenderHead>();
  if (sought.size === 0) return found;
  const range = { before: padded(base + 1), limit: LOOK_BACK };
  for (const [, raw] of (await vault.archived(tables.log, range)).reverse()) {
    const { id, event } = json.read<Row>(raw);
    if (event === undefined || !sought.has(event.mid) || found.has(event.mid)) continue;
    const { counter, sid } = event;
    const ids = { eventId: fromHex(id), sid: fromHex(sid) };
    found.set(event.mid, { counter, ...ids, voided: [], certain: false });
  }
  return found;
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
function forget(
  core: RoomCore,
  draft: Draft,
  { rows }: Void,
  base: number,
  isInGap: boolean,
): void {
  const { marks, saved } = draft;
  const reached = Object.entries(marks.reached).map(([mid, seq]) => [mid, Math.min(seq, base)]);
  const isOwn = isInGap || [...rows.values()].some(({ event }) => event?.mid === core.me);
  mark(draft, {
    since: Date.now(),
    said: Math.min(marks.said, base),
    unconfirmed: Math.min(marks.unconfirmed, base),
    reached: Object.fromEntries(reached),
    ownSeq: Math.min(marks.ownSeq, base),
    othersSeq: Math.min(marks.othersSeq, base),
    // An offer, or its acceptance, may have been made there: it is made anew.
    offeredTo: "",
    offeredBy: "",
    accepted: (marks.accepted?.seq ?? base + 1) <= base ? marks.accepted : undefined,
    ...(isOwn && { ownCounter: 0, ownLast: "" }),
    ...(isInGap && { recounts: true }),
  });
  amend(draft, { readUpTo: Math.min(saved.readUpTo, base) });
  forgetVouched(core, draft, base);
}

/** What an acknowledgement said of the log behind `base` is void, also where that never came. */
function forgetVouched({ id, tables }: RoomCore, { turn }: Draft, base: number): void {
  const vouched = vouchedIn(turn, id);
  if (vouched !== undefined && vouched.seq > base) turn.delete(tables.state, CHECKPOINT);
}

// -- one's own words ------------------------------------------------------------------------------

/** What this member said, to be said again: each under its sid, as it reads now. */
async function ownWords(core: RoomCore, gone: Void, base: number): Promise<Said[]> {
  const { rows, entries } = gone;
  const said: Said[] = [];
  const ids = idsIn(gone);
  for (const [seq, { id, event, touch, words }] of rows) {
    if (event?.mid !== core.me) continue;
    const entry = entries.get(seq);
    const { counter, sid } = event;
    let content: Content | undefined;
    if (entry !== undefined) content = asItReads(entry);
    else if (words !== undefined) content = contentFrom(words);
    else if (touch !== undefined) content = await editOf(core, touch.target, seq, base);
    if (content === undefined || NOT_AGAIN.has(content.type) || isOf(content, ids)) continue;
    said.push({ content, sid, ts: entry?.ts ?? touch?.ts ?? Date.now(), counter, eventId: id });
  }
  return said;
}

const idsIn = ({ rows, entries }: Void): ReadonlySet<string> =>
  new Set([
    ...[...rows.values()].map(({ id }) => id),
    ...[...entries.values()].map(({ eventId }) => eventId),
  ]);

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
  const thumb = b64decode(file.thumb ?? "");
  return { type: "file", ...refOf(file), name, mime, caption: text, thumb } as const;
}

/** One's edit, at entry `seq`, of a message that stays. */
async function editOf(
  core: RoomCore,
  id: string,
  seq: number,
  base: number,
): Promise<Content | undefined> {
  const target = await find(core, id);
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
