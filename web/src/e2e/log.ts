/**
 * The room log as one member sees it: the running hash, and what gives a lying relay away
 * (docs/protocol.md, Two logs).
 */

import { equal, hex } from "../protocol/bytes.ts";
import { eventIdOf, logHash } from "../protocol/ids.ts";
import type { RecordOf } from "../protocol/records.ts";
import { BadSignature, eventId, type Signed, unverifiedPayload } from "../themis/index.ts";

type Bytes = Uint8Array;

/** How many entries `seen` may lie behind the one that names it. */
export const WINDOW = 1024;

export type Fault =
  | "gap"
  | "not_a_record"
  | "fork"
  | "stale_seen"
  | "sender_gap"
  | "sender_prev"
  | "sender_fork"
  | "replay"
  | "voided"
  | "bad_head"
  | "equivocation";

/** The room log does not hold together; `evidence` are the envelopes that show it. */
export class LogBroken extends Error {
  override readonly name = "LogBroken";

  constructor(
    readonly fault: Fault,
    readonly seq: number,
    readonly evidence: readonly Bytes[] = [],
  ) {
    super(`the room log is broken at ${seq}: ${fault.replaceAll("_", " ")}`);
  }
}

export interface Seen {
  readonly seq: number;
  readonly log: Bytes;
}

/** The log up to `seq`, where its running hash is `log`. */
export interface RoomLog {
  readonly room: Bytes;
  readonly seq: number;
  readonly log: Bytes;
  /** The last running hashes, that of `seq` last; none where that is not known: see `unknownLog`. */
  readonly recent: readonly Bytes[];
  /** Where this member began to read. */
  readonly start: number;
}

export const resumedLog = (
  room: Bytes,
  seq: number,
  log: Bytes,
  recent: readonly Bytes[] = [log],
  start = seq,
): RoomLog => ({ room, seq, log, recent, start });

/** A log that ends at an entry which was never read here: its relay has to say what L is there. */
export const unknownLog = (room: Bytes, seq: number): RoomLog =>
  resumedLog(room, seq, room, [], seq);

/** Whether L is known at its end. */
export const isKnown = ({ recent }: RoomLog): boolean => recent.length > 0;

/** The log of a room that holds GENESIS alone. */
export const foundedLog = (room: Bytes): RoomLog => resumedLog(room, 0, room);

export const seenOf = ({ seq, log }: RoomLog): Seen => ({ seq, log });

/** The running hash after `seq`, if it is still remembered. */
export const hashAt = (log: RoomLog, seq: number): Bytes | undefined =>
  log.recent[log.recent.length - 1 - (log.seq - seq)];

/** With the record delivered as number `seq`: do so for every delivery, even an unreadable one. */
export function append(before: RoomLog, seq: number, envelope: Bytes): RoomLog {
  if (seq !== before.seq + 1 || !isKnown(before)) throw new LogBroken("gap", seq, [envelope]);
  let id: Bytes;
  try {
    id = eventIdOf(unverifiedPayload(envelope));
  } catch (error) {
    if (!(error instanceof BadSignature)) throw error;
    throw new LogBroken("not_a_record", seq, [envelope]);
  }
  const log = logHash(before.log, seq, id);
  return { ...before, seq, log, recent: [...before.recent, log].slice(-WINDOW - 1) };
}

/** The sender of record `seq` had seen the log that I have; else `LogBroken` (fork). */
export function checkSeen(log: RoomLog, seq: number, seen: Seen, envelope: Bytes): void {
  if (seen.seq >= seq) throw new LogBroken("fork", seq, [envelope]);
  if (seq - seen.seq > WINDOW) throw new LogBroken("stale_seen", seq, [envelope]);
  const mine = hashAt(log, seen.seq);
  if (mine !== undefined && !equal(mine, seen.log)) throw new LogBroken("fork", seq, [envelope]);
}

/** The hub's verified LOG_HEAD says what I computed; else `LogBroken` (fork). */
export function checkHead(log: RoomLog, head: RecordOf<"log_head">, envelope: Bytes): void {
  const mine = hashAt(log, head.seq);
  if (!equal(head.room, log.room) || (mine !== undefined && !equal(mine, head.log))) {
    throw new LogBroken("fork", head.seq, [envelope]);
  }
}

/** A sender's last event in the log. */
export interface SenderHead {
  readonly counter: number;
  readonly eventId: Bytes;
  readonly sid: Bytes;
  /** Events that it declared refused by the relay, with this counter. */
  readonly voided: readonly Bytes[];
  /** Its next event must follow this one; false after a stretch that was not read. */
  readonly certain: boolean;
}

/** The chain of each sender's own events, by member in hex. */
export type Senders = ReadonlyMap<string, SenderHead>;

/** The counter and `prev` that this member's next event must carry. */
export function nextOf(
  senders: Senders,
  room: Bytes,
  mid: Bytes,
): { counter: number; prev: Bytes } {
  const head = senders.get(hex(mid));
  return head ? { counter: head.counter + 1, prev: head.eventId } : { counter: 1, prev: room };
}

const holds = (ids: readonly Bytes[], id: Bytes) => ids.some((one) => equal(one, id));

/**
 * With a verified event, and whether it is new: not, if it is the same message once more.
 *
 * `fromStart`: I have read the log since the sender joined, so its first event must be number 1.
 */
export function accept(
  senders: Senders,
  room: Bytes,
  seq: number,
  signed: Signed<RecordOf<"event">>,
  { voids, fromStart }: { voids: readonly Bytes[]; fromStart: boolean },
): { senders: Senders; isNew: boolean } {
  const event = signed.record;
  const head = senders.get(hex(event.mid));
  if (head !== undefined && isPast(head, signed)) {
    checkAgain(seq, signed, head, voids);
    return { senders, isNew: false };
  }
  if (head?.certain ?? fromStart) {
    const next = nextOf(senders, room, event.mid);
    if (event.counter !== next.counter) throw new LogBroken("sender_gap", seq, [signed.envelope]);
    if (!equal(event.prev, next.prev)) throw new LogBroken("sender_prev", seq, [signed.envelope]);
  }
  return { senders: withHead(senders, signed, voids), isNew: true };
}

/** Whether it is no later one than the last; that one itself is known also where its number is not. */
const isPast = (head: SenderHead, signed: Signed<RecordOf<"event">>): boolean =>
  signed.record.counter <= head.counter || equal(eventId(signed), head.eventId);

/** With an event after which a fault was reported, so that each is reported once. */
export function skipTo(senders: Senders, signed: Signed<RecordOf<"event">>): Senders {
  const head = senders.get(hex(signed.record.mid));
  if (head !== undefined && isPast(head, signed)) return senders;
  return withHead(senders, signed, []);
}

function withHead(
  senders: Senders,
  signed: Signed<RecordOf<"event">>,
  voided: readonly Bytes[],
): Senders {
  const { counter, sid, mid } = signed.record;
  const head = { counter, eventId: eventId(signed), sid, voided, certain: true };
  return new Map(senders).set(hex(mid), head);
}

function checkAgain(
  seq: number,
  signed: Signed<RecordOf<"event">>,
  head: SenderHead,
  voids: readonly Bytes[],
): void {
  const id = eventId(signed);
  if (signed.record.counter < head.counter || equal(id, head.eventId)) {
    throw new LogBroken("replay", seq, [signed.envelope]);
  }
  if (equal(signed.record.sid, head.sid)) return;
  const voided = holds(voids, head.eventId) || holds(head.voided, id);
  throw new LogBroken(voided ? "voided" : "sender_fork", seq, [signed.envelope]);
}
