/**
 * Evidence that a relay shows against a room's hub, judged: what do the records prove, if anything?
 *
 * Believed as far as signatures go: two LOG_HEADs of the hub's own, or one word, the hub's or a
 * member's, over a log that is not the one that this member was given. All else is that relay's talk.
 */

import { equal, hex } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import type { RecordOf } from "../protocol/records.ts";
import { memberOf, type RoomState } from "../protocol/room.ts";
import { type LineageOf, lineage, openSigned, peek } from "../themis/index.ts";
import { hashAt, type RoomLog, type Seen } from "./log.ts";
import { voidFrom } from "./moves.ts";
import { headOfHub } from "./trust.ts";

/** There are two histories of the room. */
export interface Proof {
  /** The hub signed two logs, or somebody signed another log than is here. */
  readonly fault: "equivocation" | "fork";
  readonly seq: number;
  /** In hex, the member who was shown another log; "" for the hub's own word. */
  readonly witness: string;
  /** What shows it, alone or beside one's own log. */
  readonly records: readonly Uint8Array[];
}

interface Word {
  readonly seen: Seen;
  readonly witness: string;
  readonly envelope: Uint8Array;
}

interface Head {
  readonly head: RecordOf<"log_head">;
  readonly envelope: Uint8Array;
}

/** Where a control record, its id in hex, stands in one's own log; undefined where it does not. */
export type PlaceOf = (control: string) => number | undefined;

/**
 * What these records prove to who has `log`: something, nothing, or something about an entry that is
 * not here yet (its seq). `relayKey` counts only if it is one of the relay that the room names, of
 * whose keys `known` tells. What was signed over a part that came to nothing when the room was moved
 * proves nothing either.
 */
export function judge(
  state: RoomState,
  log: RoomLog,
  relayKey: Uint8Array,
  envelopes: readonly Uint8Array[],
  known: LineageOf = lineage,
  placeOf: PlaceOf = () => undefined,
): Proof | number | undefined {
  const heads: Head[] = [];
  const words: Word[] = [];
  for (const envelope of envelopes) {
    try {
      const record = verified(state, relayKey, envelope, known);
      if (record === undefined || isVoid(state, record, placeOf)) continue;
      if (record.type === "log_head") heads.push({ head: record, envelope });
      words.push(wordOf(record, envelope));
    } catch {
      // What does not verify proves nothing, whoever it is said to be of.
    }
  }
  return contradiction(heads) ?? against(words, log);
}

/** A record that says something of this room's log, by the key that should have made it. */
function verified(state: RoomState, relayKey: Uint8Array, envelope: Uint8Array, known: LineageOf) {
  const claimed = peek(envelope).record;
  if (!("mid" in claimed)) return headOfHub(state, relayKey, envelope, known);
  const { record } = openSigned(memberOf(state, claimed.mid).signKey, envelope);
  const saysLog = "seen" in record && "prev" in record;
  return saysLog && equal(record.room, state.room) ? record : undefined;
}

export type Telling = Exclude<ReturnType<typeof verified>, undefined>;

/** The control record that a word was signed for, in hex; "" where it is the hub's. */
const controlOf = (record: Telling): string => {
  if (record.type === "log_head") return "";
  return hex(record.type === "event" ? record.ctl : record.prev);
};

/** The control records that what is shown was signed for, in hex; NOT verified. */
export function controlsOf(envelopes: readonly Uint8Array[]): string[] {
  return envelopes.flatMap((envelope) => {
    try {
      const { record } = peek(envelope);
      return "seen" in record && "prev" in record ? [controlOf(record)] : [];
    } catch (error) {
      if (error instanceof Malformed) return [];
      throw error;
    }
  });
}

/**
 * Whether a member signed it over what the hub of before put behind the place where a move stands. Its
 * control head is then of before the move; or, where that was by force, one that is void too.
 */
export function isVoid(state: RoomState, record: Telling, placeOf: PlaceOf): boolean {
  if (record.type === "log_head") return false;
  const move = voidFrom(state, record.seen.seq);
  if (move === undefined) return false;
  const place = placeOf(controlOf(record));
  return place === undefined ? move.forced : place < move.since;
}

const wordOf = (record: Telling, envelope: Uint8Array): Word =>
  record.type === "log_head"
    ? { seen: { seq: record.seq, log: record.log }, witness: "", envelope }
    : { seen: record.seen, witness: hex(record.mid), envelope };

function contradiction(heads: readonly Head[]): Proof | undefined {
  for (const [at, { head: one, envelope }] of heads.entries()) {
    const other = heads
      .slice(at + 1)
      .find(
        ({ head: { term, seq, log } }) =>
          term === one.term && seq === one.seq && !equal(log, one.log),
      );
    if (other !== undefined) {
      const records = [envelope, other.envelope];
      return { fault: "equivocation", seq: one.seq, witness: "", records };
    }
  }
  return undefined;
}

/** The first word over another log than is here; else whether one is still to be judged. */
function against(words: readonly Word[], log: RoomLog): Proof | number | undefined {
  for (const { seen, witness, envelope } of words) {
    const mine = seen.seq <= log.seq ? hashAt(log, seen.seq) : undefined;
    if (mine !== undefined && !equal(mine, seen.log)) {
      return { fault: "fork", seq: seen.seq, witness, records: [envelope] };
    }
  }
  const later = words.map(({ seen }) => seen.seq).filter((seq) => seq > log.seq);
  return later.length > 0 ? Math.min(...later) : undefined;
}
