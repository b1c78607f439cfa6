/**
 * A room that left its hub, and who has not heard of it: what follows from HUB_MOVEs that are told
 * (ofcd/themis/moves.py; docs/protocol.md, A hub that is gone for good). Whether they count against
 * what stands in one's own log, and how far that log holds beside them. The caller asks in this order:
 * `Moves.read`, `news`, `checkClaim`, `part`, `checkRoot`.
 */

import { equal, hex } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { MOVES_TOLD } from "../protocol/limits.ts";
import type { RecordOf } from "../protocol/records.ts";
import { type HubTerm, memberOf, Refused, type RoomState } from "../protocol/room.ts";
import { eventId, isOf, openSigned, peek, type Signed } from "../themis/index.ts";
import type { Seen } from "./log.ts";

export type SignedMove = Signed<RecordOf<"hub_move">>;

/** The own log does not hold the moves told: what is behind entry `base` of it is void. */
export interface Parting {
  readonly base: number;
  /** The first HUB_MOVE that is not in the own log. */
  readonly first: SignedMove;
  /** The one that decides: it names who orders the room now. */
  readonly last: SignedMove;
}

/** Moves that the own log lacks, and that count. */
export type News = readonly [SignedMove, ...SignedMove[]];

/** Whether the first move is the entry behind what holds: else more is to be had before it. */
export const isNext = ({ base, first }: Parting): boolean => base === first.record.seen.seq;

/** The HUB_MOVEs of one room's log, as somebody tells them; NOT verified before `checkClaim`. */
export class Moves {
  private constructor(readonly signed: News) {}

  /** What was told. Throws `Malformed` for what no log can hold. */
  static read(room: Uint8Array, envelopes: readonly Uint8Array[]): Moves {
    if (envelopes.length > MOVES_TOLD) throw malformed();
    const [first, ...rest] = envelopes.map(peek).map(asMove);
    if (first === undefined) throw malformed();
    const signed: News = [first, ...rest];
    const isOther = signed.some(({ record }) => !equal(record.room, room));
    const isBroken = rest.some((one, at) => !follows(signed[at] as SignedMove, one));
    if (isOther || isBroken) throw malformed();
    return new Moves(signed);
  }

  /**
   * Those that the own log, whose state is `state`, lacks, if these count; undefined: none. `kept` is
   * the last one that was told before, and taken, and is not in the own log yet. Throws `Refused`
   * (conflict) where one's own last move, or `kept`, counts against these, and for what no log can
   * hold beside the own: who tells it need not have what shows that.
   */
  news(state: RoomState, kept?: SignedMove): News | undefined {
    const here = idsOf(state.moved);
    const missing = this.signed.filter((one) => !here.has(idOf(one)));
    const { last } = this;
    const [first, ...rest] = missing;
    if (missing.some((one, at) => one !== this.signed.at(at - missing.length))) {
      throw new Refused("conflict", "the own log has no move between these");
    }
    if (first === undefined || (kept !== undefined && idOf(kept) === idOf(last))) return undefined;
    const own = state.moved.at(-1);
    const isLess = own !== undefined && outranks([own.term, hex(own.eventId)], rankOf(last));
    if (isLess || (kept !== undefined && !mayFollow(kept, last))) {
      throw new Refused("conflict", "another move of the room counts");
    }
    return [first, ...rest];
  }

  /**
   * Where the own log, which ends at `end`, parts from theirs; it lacks these of `news`. `ours` is its
   * L at what the first of those has seen, where known. Only a move by force makes anything void.
   * Throws `Refused`: `conflict` where there is none, and the own log goes another way; `fork` where
   * root has signed another log than the own.
   */
  part(missing: News, state: RoomState, end: number, ours: Uint8Array | undefined): Parting {
    const [first] = missing;
    const last = missing.at(-1) as SignedMove;
    const { seen } = first.record;
    const [beaten] = this.beaten(state);
    const isKnown = ours === undefined || equal(ours, seen.log);
    const isSame = seen.seq <= end && isKnown && isBehind(first, state);
    if (!missing.some(({ record }) => record.force)) {
      if (beaten !== undefined || !(end < seen.seq || (end === seen.seq && isSame))) {
        throw new Refused("conflict", "the own log goes another way");
      }
      return { base: end, first, last };
    }
    if (isSame) return { base: seen.seq, first, last };
    if (beaten !== undefined) return { base: Math.min(beaten.since - 1, seen.seq), first, last };
    if (end < seen.seq) return { base: end, first, last };
    if (!this.reaches(state)) {
      throw new Refused("conflict", "these moves begin behind where the two logs part");
    }
    throw new Refused("fork", "root has signed another log than this one");
  }

  /** Whether this one is among them. */
  has(one: SignedMove): boolean {
    return this.signed.some((told) => idOf(told) === idOf(one));
  }

  /** Pairs of one term, of the own log and of these: root has signed both. */
  rivals(state: RoomState): readonly (readonly [HubTerm, SignedMove])[] {
    return state.moved.flatMap((hub) =>
      this.signed
        .filter((one) => hub.term === one.record.term && idOf(one) !== hex(hub.eventId))
        .map((one) => [hub, one] as const),
    );
  }

  /** The moves of the own log that can not stand in theirs. */
  private beaten({ moved }: RoomState): readonly HubTerm[] {
    const [{ record: first }] = this.signed;
    const told = new Set(this.signed.map(idOf));
    if (first.after !== undefined) told.add(hex(first.after));
    const shared = moved.findLastIndex((hub) => told.has(hex(hub.eventId)));
    if (shared >= 0) return moved.slice(shared + 1);
    if (first.force && first.after === undefined) return moved; // theirs has none before
    return moved.filter(({ term, since }) => term >= first.term || since > first.seen.seq);
  }

  /** Whether no move that the own log lacks stands before the first of these. */
  private reaches({ moved }: RoomState): boolean {
    const [first] = this.signed;
    const { after } = first.record;
    const here = idsOf(moved);
    return after === undefined || here.has(hex(after)) || here.has(idOf(first));
  }

  private get last(): SignedMove {
    return this.signed.at(-1) as SignedMove;
  }
}

/** They are signed by who is root in the own log. Throws `Refused` (forbidden, bad_signature). */
export function checkClaim(signed: readonly SignedMove[], state: RoomState): void {
  for (const { record, envelope } of signed) {
    if (!equal(record.mid, state.root)) throw new Refused("forbidden", "only root moves a room");
    openSigned(memberOf(state, state.root).signKey, envelope);
  }
}

/**
 * Who is root `now`, at the end of the own log, is so in `state`, that at the parting's base, too: else
 * who has handed the room over could take that back, and all that came after it, by a record that is
 * older. Throws `Refused` (forbidden).
 */
export function checkRoot(state: RoomState, now: RoomState): void {
  if (equal(state.root, now.root)) return;
  throw new Refused("forbidden", "who was root there has handed the room over since");
}

/** A HUB_MOVE as it was told, NOT verified. Throws `Malformed`. */
export const readMove = (envelope: Uint8Array): SignedMove => asMove(peek(envelope));

/** What stands just before this HUB_MOVE in its log. */
export const seenOf = ({ record }: SignedMove): Seen => record.seen;

/** The last move by force that made void whatever else was signed over entry `seq`, if any. */
export const voidFrom = (state: RoomState, seq: number): HubTerm | undefined =>
  state.moved.findLast((hub) => hub.forced && hub.since <= seq);

type Rank = readonly [term: number, id: string];

const idOf = (one: SignedMove): string => hex(eventId(one));
const rankOf = (one: SignedMove): Rank => [one.record.term, idOf(one)];
const idsOf = (moved: RoomState["moved"]) => new Set(moved.map((hub) => hex(hub.eventId)));

/** Of two that can not stand in one log the higher term counts; of one term, the lower event id. */
const outranks = ([term, id]: Rank, [other, its]: Rank): boolean =>
  term > other || (term === other && id < its);

/**
 * Whether `last` counts beside the one that was told before. Root's client may sign several without
 * force for one place, of one term, until the hub takes one: only that stands in the log, whatever its id.
 */
function mayFollow(kept: SignedMove, last: SignedMove): boolean {
  const isForced = kept.record.force || last.record.force;
  if (kept.record.term === last.record.term && !isForced) return true;
  return !outranks(rankOf(kept), rankOf(last));
}

/** Whether the one can stand in a log as the next move behind the other. */
function follows(before: SignedMove, { record: other }: SignedMove): boolean {
  const one = before.record;
  const isLinked = other.after === undefined ? !other.force : hex(other.after) === idOf(before);
  return isLinked && one.term < other.term && one.seen.seq < other.seen.seq;
}

/** Whether the move before it, as it says, is the last one that the own log has up to there. */
function isBehind({ record: { after, force, seen } }: SignedMove, { moved }: RoomState): boolean {
  if (after === undefined && !force) return true;
  const before = moved.findLast(({ since }) => since <= seen.seq);
  return hex(after ?? NONE) === hex(before?.eventId ?? NONE);
}

const NONE = new Uint8Array();

function asMove(one: Signed): SignedMove {
  if (!isOf(one, "hub_move")) throw malformed();
  return one as SignedMove;
}

const malformed = () => new Malformed("bad_record", "these are not the moves of a room's log");
