/**
 * A room that left its hub, and who has not heard of it: what follows from HUB_MOVEs that are told
 * (ofcd/themis/moves.py; docs/protocol.md, A hub that is gone for good). Whether they count against
 * what stands in one's own log, and how far that log holds beside them.
 */

import { equal, hex } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import type { RecordOf } from "../protocol/records.ts";
import { type HubTerm, memberOf, Refused, type RoomState } from "../protocol/room.ts";
import { eventId, isOf, openSigned, peek, type Signed } from "../themis/index.ts";

type SignedMove = Signed<RecordOf<"hub_move">>;

/** The own log does not hold the moves told: what is behind entry `base` of it is void. */
export interface Parting {
  readonly base: number;
  /** The first HUB_MOVE that is not in the own log. */
  readonly first: SignedMove;
  /** The one that decides: it names who orders the room now. */
  readonly last: SignedMove;
}

/** Whether the first move is the entry behind what holds: else more is to be had before it. */
export const isNext = ({ base, first }: Parting): boolean => base === first.record.seen.seq;

/** The HUB_MOVEs of one room's log, as somebody tells them; NOT verified before `check`. */
export class Moves {
  private constructor(private readonly signed: readonly SignedMove[]) {}

  /** What was told. Throws `Malformed`. */
  static read(room: Uint8Array, envelopes: readonly Uint8Array[]): Moves {
    const signed = envelopes.map(peek).filter((one) => isOf(one, "hub_move")) as SignedMove[];
    const isWhole = signed.length === envelopes.length && signed.length > 0;
    if (!isWhole || signed.some(({ record }) => !equal(record.room, room))) {
      throw new Malformed("bad_record", "these are not moves of this room");
    }
    return new Moves(signed);
  }

  /** The first of them that does not stand in the own log, whose state is `state`. */
  firstMissing(state: RoomState): RecordOf<"hub_move"> | undefined {
    return this.missing(state)[0]?.record;
  }

  /**
   * Where the own log, which ends at `end`, parts from theirs; undefined: it holds them all. `ours` is
   * its L at what `firstMissing` has seen, where known. Throws `Refused`: `conflict` where the own
   * last move counts against theirs, `fork` where there are two histories.
   */
  part(state: RoomState, end: number, ours: Uint8Array | undefined): Parting | undefined {
    const [first] = this.missing(state);
    if (first === undefined) return undefined;
    const { last } = this;
    const own = state.moved.at(-1);
    if (own !== undefined && outranks(own, last)) {
      throw new Refused("conflict", "another move of the room counts");
    }
    const { seen } = first.record;
    const told = new Set(this.signed.map((one) => hex(eventId(one))));
    const beaten = state.moved.find((hub) => !told.has(hex(hub.eventId)));
    const isHeld = seen.seq <= end && (ours === undefined || equal(ours, seen.log));
    if (isHeld) return { base: seen.seq, first, last };
    if (beaten !== undefined) return { base: Math.min(beaten.since - 1, seen.seq), first, last };
    if (end < seen.seq) return { base: end, first, last };
    throw new Refused("fork", "root has signed another log than this one");
  }

  /** Whether the last of them and the own last move are two of one term. */
  isRival(state: RoomState): boolean {
    const own = state.moved.at(-1);
    const { last } = this;
    return own?.term === last.record.term && !equal(own.eventId, eventId(last));
  }

  /** They are signed by who is root in the own log now. Throws `Refused`. */
  checkClaim(state: RoomState): void {
    checkRoots(this.signed, state);
  }

  /**
   * They are root's, who is so in `state`, that of the own log at the parting's base; and is so `now`,
   * where the own log ends: who has handed the room over can not take that back, and all that came
   * after it, by a record that is older. Throws `Refused` (forbidden, bad_signature).
   */
  check({ first }: Parting, state: RoomState, now: RoomState): void {
    if (!equal(state.root, now.root)) {
      throw new Refused("forbidden", "who was root there has handed the room over since");
    }
    checkRoots(this.signed.slice(this.signed.indexOf(first)), state);
  }

  private get last(): SignedMove {
    return this.signed.at(-1) as SignedMove;
  }

  private missing(state: RoomState): SignedMove[] {
    const here = new Set(state.moved.map((hub) => hex(hub.eventId)));
    return this.signed.filter((one) => !here.has(hex(eventId(one))));
  }
}

/** The last move that made void whatever else was signed over entry `seq`, if any. */
export const voidFrom = (state: RoomState, seq: number): HubTerm | undefined =>
  state.moved.findLast((hub) => hub.since <= seq);

/** Of two that can not stand in one log the higher term counts; of one term, the lower event id. */
function outranks(own: HubTerm, told: SignedMove): boolean {
  const { term } = told.record;
  return own.term > term || (own.term === term && hex(own.eventId) < hex(eventId(told)));
}

function checkRoots(signed: readonly SignedMove[], state: RoomState): void {
  for (const { record, envelope } of signed) {
    if (!equal(record.mid, state.root)) throw new Refused("forbidden", "only root moves a room");
    openSigned(memberOf(state, state.root).signKey, envelope);
  }
}
