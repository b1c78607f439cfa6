/**
 * The room that a join brings (ofcd/client/arriving.py).
 *
 * Who was in the room before, and comes back by a new invite, is a new member with new keys. What it
 * has read stays readable, and what it knows of the control log must go on in what it is shown now.
 */

import { type Standing, verifyChain } from "../e2e/chain.ts";
import { makeAttach } from "../e2e/controls.ts";
import { checkAdmitted, JoinRejected } from "../e2e/joining.ts";
import { resumedLog } from "../e2e/log.ts";
import type { View } from "../e2e/view.ts";
import { equal, hex } from "../protocol/bytes.ts";
import { NO_HUB } from "../protocol/frames.ts";
import { isRefusal, type RoomState } from "../protocol/room.ts";
import { type Link, LinkLost } from "../wire/link.ts";
import { chainOfRoom } from "./chainpages.ts";
import { runsOnly } from "./comparing.ts";
import { dropChain, keepChain } from "./journal.ts";
import { leftToSend } from "./queued.ts";
import type { Relay } from "./relays.ts";
import {
  json,
  newRoom,
  type PendingJoin,
  savedMemberKeys,
  savedRoom,
  savedState,
} from "./saved.ts";
import { AHEAD, CHECKPOINT, MARKS, type Marks, ROOMS, saveNewRoom, Tables } from "./tables.ts";
import type { Reader, Turn } from "./vault.ts";

/** The room as this vault last knew it, if it was in it before. */
export function earlierState(vault: Reader, room: string): RoomState | undefined {
  const raw = vault.get(`room/${room}`, "state");
  return raw === undefined ? undefined : savedState.read(raw);
}

/** Keys of a member are never overwritten: throws `JoinRejected` where this vault holds some. */
export function checkOutside(vault: Reader, room: string, { members }: RoomState): void {
  const raw = vault.get(`room/${room}`, "mine");
  if (raw === undefined) return;
  const { mid } = savedMemberKeys.read(raw);
  if (members.has(hex(mid))) throw new JoinRejected("already_member");
}

/** Throws `JoinRejected` unless this control log has come by the control head `ctl`. */
export function checkPast(room: Uint8Array, chain: readonly Standing[], ctl: Uint8Array): void {
  try {
    verifyChain(room, chain, { until: ctl });
  } catch (error) {
    if (isRefusal(error)) throw new JoinRejected("bad_chain");
    throw error;
  }
}

/** A newcomer's view, the room's state now, where its history begins, and the control log so far. */
interface Arrived {
  readonly view: View;
  readonly whole: RoomState;
  readonly historyFrom: number;
  readonly chain: readonly Standing[];
}

/** A newcomer's view, where its reading begins, checked as far as its admitter told of it. */
export async function openRoom(
  link: Link,
  { keys: { public: transportKey }, relayId }: Relay,
  { joining, checkpoint, ctl, keys }: PendingJoin,
): Promise<Arrived> {
  const { code, keys: mine } = joining;
  const { room } = code;
  const { challenge } = link.welcome;
  const proof = makeAttach(room, mine, { transportKey, relayId, challenge });
  const attached = await link.ask({ type: "attach", record: proof.envelope, ...NO_HUB });
  if (attached.type !== "attached" || keys === undefined) throw odd();
  // My admitter has seen more than this relay says there is.
  if (checkpoint !== undefined && attached.seq < checkpoint.seq)
    throw new JoinRejected("bad_chain");
  const chain = await chainOfRoom(link, room);
  const whole = stateOf(room, chain);
  if (ctl !== undefined) checkPast(room, chain, ctl);
  const { historyFrom } = checkAdmitted(whole, mine);
  const synced = await link.ask({ type: "sync", room, start: historyFrom, log: undefined });
  if (synced.type !== "synced") throw odd();
  const { head, log } = synced;
  const start = Math.max(synced.start, synced.floor);
  // GENESIS alone is the founder's to begin with; and what does not begin here must end here.
  if (start < Math.max(1, historyFrom) || head < start - 1 || head < attached.seq) throw odd();
  const isOther = checkpoint?.seq === start - 1 && !equal(checkpoint.log, log);
  if (isOther) throw new JoinRejected("bad_chain");
  const state = verified(() => verifyChain(room, chain, { before: start }));
  const resumed = resumedLog(room, start - 1, log);
  const view = { mine, state, keys, log: resumed, senders: new Map() };
  return { view, whole, historyFrom, chain: chain.filter(([seq]) => seq < start) };
}

/** The room as a whole control log has it, which must hold. */
export const stateOf = (room: Uint8Array, chain: readonly Standing[]): RoomState =>
  verified(() => verifyChain(room, chain));

const odd = () => new LinkLost("the relay answered something else");

function verified(act: () => RoomState): RoomState {
  try {
    return act();
  } catch (error) {
    if (isRefusal(error)) throw new JoinRejected("bad_chain");
    throw error;
  }
}

/** Admitted: what was opened is the room, and this browser is the member of the new keys. */
export function enter(
  turn: Turn,
  relay: Relay,
  pending: PendingJoin,
  { view, historyFrom, chain }: Omit<Arrived, "whole">,
  /** The control records that were kept when one was in the room before. */
  kept: readonly Standing[] = [],
): void {
  const { code } = pending.joining;
  const tables = new Tables(hex(code.room));
  const before = turn.get(ROOMS, tables.id);
  const read = before === undefined ? 0 : savedRoom.read(before).readUpTo;
  if (before !== undefined) forgetMember(turn, tables);
  const saved = newRoom({
    room: code.room,
    url: relay.url,
    relayId: relay.relayId,
    name: pending.roomName,
    myName: pending.name,
    readUpTo: Math.max(read, historyFrom - 1),
    hubUrl: relay.url === code.relayUrl ? "" : code.relayUrl,
  });
  saveNewRoom(turn, saved, view, pending.checkpoint);
  dropChain(turn, tables, kept); // it may have been moved since
  keepChain(turn, tables, chain);
  for (const [mid, name] of pending.names) turn.put(tables.names, hex(mid), json.write(name));
}

/** What was the member's that this browser was, and is not the new one's. */
function forgetMember(turn: Turn, tables: Tables): void {
  for (const id of [CHECKPOINT, AHEAD]) turn.delete(tables.state, id);
  const marks = turn.get(tables.state, MARKS);
  if (marks !== undefined) {
    const { cut, cuts } = json.read<Marks>(marks); // what came to nothing then is still to be shown
    turn.put(tables.state, MARKS, json.write({ cut, cuts }));
  }
  for (const table of [tables.tokens, tables.admits, tables.offers, tables.drops]) {
    for (const [id] of turn.items(table)) turn.delete(table, id);
  }
  for (const [mid, raw] of turn.items(tables.compared)) {
    turn.put(tables.compared, mid, runsOnly(raw));
  }
  for (const [id, raw] of turn.items(tables.outbox)) {
    const left = leftToSend(raw);
    if (left === undefined) turn.delete(tables.outbox, id);
    else turn.put(tables.outbox, id, left);
  }
}
