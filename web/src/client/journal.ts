/**
 * What each entry of the log did to the room, so that its end can be taken back (voiding.ts), and the
 * control log as it came: in the vault's archive, by seq. Words of others are not kept here twice.
 */

import { applyVerified, type Standing, verifyChain } from "../e2e/chain.ts";
import { hashAt, type RoomLog } from "../e2e/log.ts";
import type { Taken, View } from "../e2e/view.ts";
import { equal, fromHex, hex } from "../protocol/bytes.ts";
import { eventIdOf } from "../protocol/ids.ts";
import { isRefusal, Refused, type RoomState } from "../protocol/room.ts";
import { unverifiedPayload } from "../themis/index.ts";
import { type Link, LinkLost, RelayRefused } from "../wire/link.ts";
import { namedBy } from "./aliases.ts";
import { chainOfRoom } from "./chainpages.ts";
import { contentJson } from "./contents.ts";
import type { Draft, RoomCore } from "./core.ts";
import { type Entry, idsOf } from "./entries.ts";
import { json } from "./saved.ts";
import { padded, type Tables } from "./tables.ts";
import type { Turn, Vault } from "./vault.ts";

const PAGE = 500;

/** What an event did to an earlier entry: an edit, or a reaction, which stood there before or not. */
export interface Touch {
  /** Its event id in hex. */
  readonly target: string;
  /** Its sender's clock; rows of an earlier version lack it. */
  readonly ts?: number;
  readonly reaction?: { readonly emoji: string; readonly was: boolean };
}

/** An event that was new: ids in hex, and the sid of the sender's event before it, where known. */
export interface Chained {
  readonly mid: string;
  readonly counter: number;
  readonly prev: string;
  readonly sid: string;
  readonly sidBefore: string;
}

/** One entry of the log. Ids are hex. */
export interface Row {
  readonly id: string;
  /** L behind it. */
  readonly log: string;
  readonly isControl?: boolean;
  readonly event?: Chained;
  readonly touch?: Touch;
  /** Whom its sender said to be too, or no longer, and whether it had before. */
  readonly alias?: { readonly member: string; readonly was: boolean };
  /** One's own words, where they are no entry that can be read back: as for the outbox. */
  readonly words?: unknown;
}

/** What a delivery came to, of which nothing can be read back from the history. */
export function noteRow(
  turn: Turn,
  tables: Tables,
  seq: number,
  { id, envelope, before, taken }: { id: string; envelope: Uint8Array; before: View; taken: Taken },
): void {
  const { event, control, repeat, view } = taken;
  const isNew = event !== undefined && !repeat;
  const row: Row = {
    id,
    log: hex(view.log.log),
    ...(control && { isControl: true }),
    ...(isNew && { event: chained(before, event.record) }),
  };
  turn.put(tables.log, padded(seq), json.write(row));
  if (control !== undefined) keepChain(turn, tables, [[seq, envelope]]);
}

function chained(
  { senders }: View,
  { mid, counter, prev, sid }: NonNullable<Taken["event"]>["record"],
): Chained {
  const head = senders.get(hex(mid));
  const sidBefore = head !== undefined && equal(head.eventId, prev) ? hex(head.sid) : "";
  return { mid: hex(mid), counter, prev: hex(prev), sid: hex(sid), sidBefore };
}

/** What the message at `seq` did, once it was opened; `isMine`: its words may have to be said again. */
export async function noteOpened(
  core: RoomCore,
  turn: Turn,
  seq: number,
  { opened, touch }: Pick<Taken, "opened"> & { readonly touch: Touch | undefined },
): Promise<void> {
  const content = opened?.body.content;
  const isMine = opened !== undefined && hex(opened.body.mid) === core.me;
  const words =
    isMine && content !== undefined && !READ_BACK.has(content.type) && content.type !== "unknown"
      ? contentJson(content)
      : undefined;
  const alias = content?.type === "alias" ? aliasBefore(core, turn, opened, content) : undefined;
  if (touch === undefined && words === undefined && alias === undefined) return;
  const id = padded(seq);
  const raw = turn.get(core.tables.log, id) ?? (await core.vault.fetch(core.tables.log, id));
  if (raw === undefined) return; // of an earlier version
  turn.put(core.tables.log, id, json.write({ ...json.read<Row>(raw), touch, words, alias }));
}

function aliasBefore(
  { tables }: RoomCore,
  turn: Turn,
  opened: Taken["opened"],
  { member }: { readonly member: Uint8Array },
): Row["alias"] {
  const said = opened === undefined ? [] : namedBy(turn, tables, hex(opened.body.mid));
  return { member: hex(member), was: said.includes(hex(member)) };
}

/** What the history has of them is what is left of them, if somebody had them deleted. */
const READ_BACK: ReadonlySet<string> = new Set(["text", "file", "edit"]);

/** The entries behind `seq`, oldest first. */
export async function rowsBehind(
  vault: Vault,
  table: string,
  seq: number,
): Promise<[seq: number, raw: Uint8Array][]> {
  const found: [number, Uint8Array][] = [];
  for (let before: string | undefined; ; ) {
    const range = before === undefined ? { limit: PAGE } : { before, limit: PAGE };
    const page = await vault.archived(table, range);
    const later = page.filter(([id]) => Number(id) > seq);
    found.unshift(...later.map(([id, raw]) => [Number(id), raw] as [number, Uint8Array]));
    before = page[0]?.[0];
    if (later.length < PAGE) return found;
  }
}

/** L of one's own log at `seq`, where it is known. */
export async function hashOf(
  { vault, tables }: RoomCore,
  log: RoomLog,
  seq: number,
): Promise<Uint8Array | undefined> {
  if (seq > log.seq) return undefined;
  const known = hashAt(log, seq);
  if (known !== undefined) return known;
  const raw = await vault.fetch(tables.log, padded(seq));
  return raw === undefined ? undefined : fromHex(json.read<Row>(raw).log);
}

/** The entry of the history at `seq`, as `turn` has it, or else the vault. */
export async function entryAt(
  { vault, tables }: RoomCore,
  seq: number,
  turn?: Turn,
): Promise<Entry | undefined> {
  const id = padded(seq);
  const raw = turn?.get(tables.archive, id) ?? (await vault.fetch(tables.archive, id));
  return raw && json.read<Entry>(raw);
}

/**
 * The one with this event id, in hex; or that had it, in a part that is void, before it was said again.
 * In the log itself only its `eventId` means it.
 */
export async function find(core: RoomCore, id: string, turn?: Turn): Promise<Entry | undefined> {
  const { index } = core.tables;
  const at = turn?.get(index, id) ?? (await core.vault.fetch(index, id));
  const entry = at && (await entryAt(core, json.read<number>(at), turn));
  return entry && idsOf(entry).includes(id) ? entry : undefined;
}

/** Where entries with these ids, in hex, stand in the log; those that do not are left out. */
export async function placesOf(
  { vault, tables }: RoomCore,
  ids: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const places = new Map<string, number>();
  for (const id of ids) {
    const at = await vault.fetch(tables.index, id);
    if (at !== undefined) places.set(id, json.read<number>(at));
  }
  return places;
}

// -- the control log --------------------------------------------------------------------------------

/** Its records, and where each stands. */
export function keepChain(turn: Turn, tables: Tables, records: Iterable<Standing>): void {
  for (const [seq, envelope] of records) {
    turn.put(tables.chain, padded(seq), envelope);
    turn.put(tables.index, idOf(envelope), json.write(seq));
  }
}

/** They are in this log no more. */
export function dropChain(turn: Turn, tables: Tables, records: Iterable<Standing>): void {
  for (const [seq, envelope] of records) {
    turn.delete(tables.chain, padded(seq));
    turn.delete(tables.index, idOf(envelope));
  }
}

const idOf = (envelope: Uint8Array): string => hex(eventIdOf(unverifiedPayload(envelope)));

/**
 * The room's state at entry `seq`, by the control log that is kept, which goes to `state`. Throws
 * `Refused` (not_found) where it is not there, or not whole.
 */
export async function stateAt(
  { vault, tables }: RoomCore,
  state: RoomState,
  seq: number,
): Promise<RoomState> {
  const chain = await rowsBehind(vault, tables.chain, -1);
  const then = verifyChain(state.room, chain, { before: seq + 1 });
  const rest = chain.filter(([at]) => at > seq);
  const now = rest.reduce((one, [at, raw]) => applyVerified(one, raw, at).state, then);
  if (!equal(now.ctl, state.ctl)) throw new Refused("not_found", "the control log is not whole");
  return then;
}

/** Whether it knows its moves by their ids: what an earlier version kept does not. */
const namesMoves = ({ moved }: RoomState): boolean =>
  moved.every(({ eventId }) => eventId.length > 0);

function knowMoves(draft: Draft, { moved }: RoomState): void {
  draft.view = { ...draft.view, state: { ...draft.view.state, moved } };
}

/**
 * Have the ids of the room's moves from the control log that is kept; whether they are known. Throws
 * `Refused` (not_found) where that log is not whole.
 */
export async function nameMoves(core: RoomCore, draft: Draft): Promise<boolean> {
  const { state } = draft.view;
  if (namesMoves(state)) return true;
  if ((await core.vault.fetch(core.tables.chain, padded(0))) === undefined) return false;
  knowMoves(draft, await stateAt(core, state, state.seq));
  return true;
}

/** Have the control log from the relay, where an earlier version did not keep it. */
export async function completeChain(core: RoomCore, link: Link): Promise<void> {
  const { vault, tables } = core;
  try {
    if ((await vault.fetch(tables.chain, padded(0))) !== undefined) return;
    const chain = await chainOfRoom(link, core.view.state.room);
    await core.change((draft) => {
      const { state } = draft.view;
      const known = chain.filter(([seq]) => seq <= state.seq);
      const then = verifyChain(state.room, known);
      if (!equal(then.ctl, state.ctl)) return; // it goes on: the next link
      keepChain(draft.turn, tables, known);
      if (!namesMoves(state)) knowMoves(draft, then);
    });
  } catch (error) {
    const isLater = error instanceof LinkLost || error instanceof RelayRefused || isRefusal(error);
    if (!isLater) core.failed(error); // else the next link brings it
  }
}
