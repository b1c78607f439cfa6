/**
 * A member's view of a room, one delivery at a time (docs/protocol.md, What every client checks).
 *
 * `take` is a pure function from (view, delivery) to (view, what to show). It throws `LogBroken`
 * for a delivery that is not the log's next entry; all else that a peer did wrong comes back as
 * `troubles`, for a marker or an alarm, and the log goes on.
 */

import { Malformed } from "../protocol/codes.ts";
import { type ControlRecord, isControl } from "../protocol/records.ts";
import {
  isRefusal,
  type Member,
  memberOf,
  type Refused,
  type RoomState,
} from "../protocol/room.ts";
import { peek, type Signed } from "../themis/index.ts";
import { applyVerified } from "./chain.ts";
import { type EpochKeys, follow, KeyMissing, KeyRejected } from "./epochs.ts";
import { type Opened, openVerified, type SignedEvent, Unreadable, verifyEvent } from "./events.ts";
import type { MemberKeys } from "./keys.ts";
import { accept, append, checkSeen, LogBroken, type RoomLog, type Senders, skipTo } from "./log.ts";

export type Trouble = Unreadable | KeyMissing | KeyRejected | LogBroken | Refused | Malformed;

/** What one member knows of a room; never changed, so that it moves on only once all is stored. */
export interface View {
  readonly mine: MemberKeys;
  readonly state: RoomState;
  readonly keys: EpochKeys;
  readonly log: RoomLog;
  readonly senders: Senders;
}

/** What one delivery came to. */
export interface Taken {
  readonly view: View;
  /** What to show as its sender's words. */
  readonly opened?: Opened;
  /** The verified header, also where the cell did not open. */
  readonly event?: SignedEvent;
  readonly control?: Signed<ControlRecord>;
  /** A message that was taken before: show nothing. */
  readonly repeat?: boolean;
  readonly troubles: readonly Trouble[];
}

/** The log's entry `seq`, with the key box that came just before it, if one did. */
export function take(
  before: View,
  seq: number,
  envelope: Uint8Array,
  cell: Uint8Array = new Uint8Array(),
  boxed?: Uint8Array,
): Taken {
  const view = { ...before, log: append(before.log, seq, envelope) };
  try {
    if (isControl(peek(envelope).record)) return takeControl(view, seq, envelope, boxed);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { view, troubles: [new Unreadable("not_an_event")] };
  }
  return takeEvent(view, seq, envelope, cell);
}

function takeControl(
  view: View,
  seq: number,
  envelope: Uint8Array,
  boxed: Uint8Array | undefined,
): Taken {
  const applied = attempt(() => applyVerified(view.state, envelope, seq), isRefusal);
  if ("trouble" in applied) return { view, troubles: [applied.trouble] };
  const { state, signed } = applied.value;
  const troubles = seenTroubles(view, seq, signed);
  const followed = attempt(
    () => follow(view.state, view.mine, view.keys, signed, boxed),
    (error) => error instanceof KeyMissing || error instanceof KeyRejected,
  );
  if ("trouble" in followed) {
    return { view: { ...view, state }, control: signed, troubles: [...troubles, followed.trouble] };
  }
  return { view: { ...view, state, keys: followed.value }, control: signed, troubles };
}

function takeEvent(view: View, seq: number, envelope: Uint8Array, cell: Uint8Array): Taken {
  const isUnreadable = (error: unknown) => error instanceof Unreadable;
  const header = attempt(() => verifyEvent(view.state, envelope), isUnreadable);
  if ("trouble" in header) return { view, troubles: [header.trouble] };
  const signed = header.value;
  const sender = memberOf(view.state, signed.record.mid);
  const troubles = seenTroubles(view, seq, signed);
  const body = attempt(() => openVerified(view.keys, signed, cell, sender.caps), isUnreadable);
  return "trouble" in body
    ? takeChained(view, seq, signed, sender, undefined, [...troubles, body.trouble])
    : takeChained(view, seq, signed, sender, body.value, troubles);
}

function takeChained(
  view: View,
  seq: number,
  signed: SignedEvent,
  sender: Member,
  opened: Opened | undefined,
  troubles: readonly Trouble[],
): Taken {
  const voids = opened?.body.voids ?? [];
  const fromStart = sender.joinedSeq >= view.log.start;
  const chained = attempt(
    () => accept(view.senders, view.state.room, seq, signed, { voids, fromStart }),
    (error) => error instanceof LogBroken,
  );
  if ("trouble" in chained) {
    const senders = skipTo(view.senders, signed);
    const shown = senders === view.senders ? {} : showing(opened);
    const all = [...troubles, chained.trouble];
    return { view: { ...view, senders }, event: signed, ...shown, troubles: all };
  }
  if (!chained.value.isNew) return { view, event: signed, repeat: true, troubles: [] };
  const moved = { ...view, senders: chained.value.senders };
  return { view: moved, event: signed, ...showing(opened), troubles };
}

const showing = (opened: Opened | undefined) => (opened === undefined ? {} : { opened });

function seenTroubles(
  view: View,
  seq: number,
  { record, envelope }: SignedEvent | Signed<ControlRecord>,
): readonly Trouble[] {
  if (record.type === "genesis") return [];
  const checked = attempt(
    () => checkSeen(view.log, seq, record.seen, envelope),
    (error) => error instanceof LogBroken,
  );
  return "trouble" in checked ? [checked.trouble] : [];
}

/** The value, or the trouble that a peer made; what else is thrown is a bug, and flies on. */
function attempt<T>(
  act: () => T,
  isTrouble: (error: unknown) => boolean,
): { value: T } | { trouble: Trouble } {
  try {
    return { value: act() };
  } catch (error) {
    if (isTrouble(error)) return { trouble: error as Trouble };
    throw error;
  }
}
