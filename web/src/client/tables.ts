/** Where a room's records stand in the vault. */

import type { Seen } from "../e2e/log.ts";
import type { View } from "../e2e/view.ts";
import { hex } from "../protocol/bytes.ts";
import {
  json,
  records,
  type SavedRoom,
  savedEpochKeys,
  savedLog,
  savedMemberKeys,
  savedRoom,
  savedSenders,
  savedState,
} from "./saved.ts";
import type { Told } from "./told.ts";
import { ARCHIVE, type Reader, type Turn } from "./vault.ts";

export const ROOMS = "rooms";
export const CHECKPOINT = "checkpoint";
export const MARKS = "marks";
/** The last HUB_MOVE that was taken and is not in the log yet. */
export const AHEAD = "ahead";
const SEQ_DIGITS = 12;

/** A number as an id that sorts. */
export const padded = (seq: number): string => String(seq).padStart(SEQ_DIGITS, "0");

/** The names of one room's tables. */
export class Tables {
  readonly rooms = ROOMS;
  readonly state: string;
  readonly names: string;
  readonly outbox: string;
  readonly archive: string;
  /**
   * Seq by event id; how many messages of a member name an attachment, by both ids. It is as
   * long as the history, and so no state to hold open.
   */
  readonly index: string;
  /** What each entry of the log did, and its control records, by seq (journal.ts). */
  readonly log: string;
  readonly chain: string;
  /** What stood in the log and came to nothing, by member, sid and event id (aside.ts). */
  readonly void: string;
  /** Tokens of the invites that may be answered here, by invite id. */
  readonly tokens: string;
  /** What was answered to whom asked in, by invite id. */
  readonly admits: string;
  /** The safety numbers that were compared, by member. */
  readonly verified: string;
  /** What is kept of comparisons of a phrase, by member. */
  readonly compared: string;
  /** First steps of comparisons that wait for the person here, by member. */
  readonly offers: string;
  /** The keys that a phrase has shown to be genuine, by member. */
  readonly proven: string;
  /** Whom a member says to be too, by member. */
  readonly aliases: string;
  /** Files on their way out. */
  readonly uploads: string;
  /** Attachments that the relay is to forget: who stored it, by its id and theirs. */
  readonly drops: string;
  /** Epochs of the messages that came without their key, by seq. */
  readonly parked: string;
  /** Records that somebody has signed and that can not both be, by their hash. */
  readonly evidence: string;

  constructor(readonly id: string) {
    this.state = `room/${id}`;
    this.names = `names/${id}`;
    this.outbox = `outbox/${id}`;
    this.archive = `${ARCHIVE}${id}`;
    this.index = `${ARCHIVE}index/${id}`;
    this.log = `${ARCHIVE}log/${id}`;
    this.chain = `${ARCHIVE}chain/${id}`;
    this.void = `${ARCHIVE}void/${id}`;
    this.tokens = `tokens/${id}`;
    this.admits = `admits/${id}`;
    this.verified = `verified/${id}`;
    this.compared = `compared/${id}`;
    this.offers = `offers/${id}`;
    this.proven = `proven/${id}`;
    this.aliases = `aliases/${id}`;
    this.uploads = `uploads/${id}`;
    this.drops = `drops/${id}`;
    this.parked = `parked/${id}`;
    this.evidence = `evidence/${id}`;
  }
}

/** What is remembered of the log beside its state. */
export interface Marks {
  /** When the current epoch began, in milliseconds since 1970 by this clock. */
  readonly since: number;
  /** The last entry that is neither beat nor UPDATE_E. */
  readonly said: number;
  /** The last entry that nobody has confirmed; -1 none. */
  readonly unconfirmed: number;
  /** When it came, in milliseconds since 1970 by this clock. */
  readonly unconfirmedSince: number;
  /** The last entry that each member's own signature proves it to have, by member. */
  readonly reached: Readonly<Record<string, number>>;
  /** The last message of one's own, and the last one of others. */
  readonly ownSeq: number;
  readonly othersSeq: number;
  /** Whether the others were told what one wants to be called. */
  readonly announced: boolean;
  /** To whom the room was offered, in hex; "" to nobody. */
  readonly offeredTo: string;
  /** Whose acceptance, in base64, HANDOVER is made of until that is in the log; undefined nobody's. */
  readonly accepted?:
    | {
        readonly mid: string;
        readonly accept: string;
        /** Where that was said; what an earlier version kept lacks it. */
        readonly seq?: number;
      }
    | undefined;
  /** Who offered the room to this member, in hex; "" nobody. */
  readonly offeredBy: string;
  /** This member's last event, where another one than the log that was read here tells; else 0. */
  readonly ownCounter: number;
  readonly ownLast: string;
  /** A gap with own events in it became void, or part of it: the relay knows how many are left. */
  readonly recounts: boolean;
  /** Own events that were signed and will not be in the log: counter, and id in hex. */
  readonly voided: readonly (readonly [counter: number, eventId: string])[];
  /** The highest term of a HUB_MOVE that this member has ever signed; of one by force. */
  readonly signedTerm: number;
  readonly forcedTerm: number;
  /** One by force that is signed, where it is to be sent, and its record in base64 (forcedesk.ts). */
  readonly forcing?: (SavedPlace & { readonly record: string }) | undefined;
  /** Where the room is reached again once its relay was looked at (forcing.ts). */
  readonly visiting?: SavedPlace | undefined;
  /** This member's last control records in the log, in hex. */
  readonly ownControls: readonly string[];
  /** What its person has not read (alarms.ts). */
  readonly alarms: readonly Told[];
  /** What came to nothing, as long as its person has not seen it. */
  readonly cut?: Cut | undefined;
  /** How often the end of the log came to nothing: what comes may have been said before. */
  readonly cuts: number;
}

/** A relay, its id in hex. */
export interface SavedPlace {
  readonly url: string;
  readonly relayId: string;
}

/** The end of the log that came to nothing: how many entries, and what of them. */
export interface Cut {
  readonly entries: number;
  readonly messages: number;
  /** Changes of the room. */
  readonly controls: number;
  /** Of one's own words, those that are said again by themselves. */
  readonly own: number;
}

export function loadMarks(vault: Reader, room: string, view: View): Marks {
  const raw = vault.get(`room/${room}`, MARKS);
  const blank: Marks = {
    since: Date.now(),
    said: view.log.seq,
    unconfirmed: -1,
    unconfirmedSince: 0,
    reached: {},
    ownSeq: -1,
    othersSeq: -1,
    announced: false,
    offeredTo: "",
    offeredBy: "",
    ownCounter: 0,
    ownLast: "",
    recounts: false,
    voided: [],
    signedTerm: 0,
    forcedTerm: 0,
    ownControls: [],
    alarms: [],
    cuts: 0,
  };
  return raw === undefined ? blank : { ...blank, ...json.read<Partial<Marks>>(raw) };
}

export const saveMarks = (turn: Turn, room: string, marks: Marks): void =>
  turn.put(`room/${room}`, MARKS, json.write(marks));

export function loadView(vault: Reader, room: string): View {
  const part = (name: string) => records(vault.get(`room/${room}`, name));
  return {
    mine: savedMemberKeys.read(part("mine")),
    state: savedState.read(part("state")),
    keys: savedEpochKeys.read(part("keys")),
    log: savedLog.read(part("log")),
    senders: savedSenders.read(part("senders")),
  };
}

/** Puts what has changed of a view since `before`; everything, if there was none. */
export function saveView(turn: Turn, room: string, view: View, before?: View): void {
  const table = `room/${room}`;
  if (view.mine !== before?.mine) turn.put(table, "mine", savedMemberKeys.write(view.mine));
  if (view.state !== before?.state) turn.put(table, "state", savedState.write(view.state));
  if (view.keys !== before?.keys) turn.put(table, "keys", savedEpochKeys.write(view.keys));
  if (view.log !== before?.log) turn.put(table, "log", savedLog.write(view.log));
  if (view.senders !== before?.senders) {
    turn.put(table, "senders", savedSenders.write(view.senders));
  }
}

/** What somebody vouched for of the log, until that has come there: my admitter, or the relay. */
export function vouchedIn(vault: Reader, room: string): Vouched | undefined {
  const raw = vault.get(`room/${room}`, CHECKPOINT);
  return raw && json.read<Vouched>(raw);
}

interface Vouched {
  readonly seq: number;
  readonly log: string;
  /** By an admitter, in its JOIN_RESP; what an earlier version kept lacks it. */
  readonly isSigned?: boolean;
}

/** It waits to be checked, unless something does already: that is checked first. */
export function keepVouched(turn: Turn, room: string, { seq, log }: Seen, isSigned = false): void {
  if (vouchedIn(turn, room) !== undefined) return;
  turn.put(
    `room/${room}`,
    CHECKPOINT,
    json.write({ seq, log: hex(log), isSigned } satisfies Vouched),
  );
}

/** A new room; `checkpoint` is what its admitter said that L is at one seq. */
export function saveNewRoom(turn: Turn, saved: SavedRoom, view: View, checkpoint?: Seen): void {
  const id = hex(saved.room);
  if (checkpoint !== undefined && checkpoint.seq > view.log.seq)
    keepVouched(turn, id, checkpoint, true);
  turn.put(ROOMS, id, savedRoom.write(saved));
  saveView(turn, id, view);
}
