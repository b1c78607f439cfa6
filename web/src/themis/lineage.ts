/**
 * A relay's keys, from its first to the one it has now (docs/protocol.md, A relay's keys; the same as
 * ofcd/themis/lineage.py).
 *
 * A relay's id is the hash of its first key, for good. Each later key is vouched for by a SUCCESSION,
 * signed by the key before and by itself. Here, and nowhere else, it is decided which relay a key
 * speaks for.
 */

import { equal } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { relayIdOf } from "../protocol/ids.ts";
import * as limits from "../protocol/limits.ts";
import type { RecordOf } from "../protocol/records.ts";
import { Refused } from "../protocol/room.ts";
import { openSigned, peek, type Signed } from "./signed.ts";

type Bytes = Uint8Array;

/** What is known of one relay's keys. Without a statement: its first key, by its hash. */
export interface Lineage {
  readonly relayId: Bytes;
  /** The signed SUCCESSIONs, the oldest first; verified. */
  readonly statements: readonly Bytes[];
  /** All of its keys, the oldest first; none where no statement is known. */
  readonly keys: readonly Bytes[];
}

/** What is known of a relay, by its id. */
export type LineageOf = (relayId: Bytes) => Lineage;

/** The key is of another relay; one that the relay has replaced; one of two that follow the same. */
export type KeyFault = "unproven" | "superseded" | "two_successors";

/** This is not the key that the relay has now. */
export class NotItsKey extends Error {
  override readonly name: string = "NotItsKey";

  constructor(readonly fault: KeyFault) {
    super(`the relay does not prove that this is its key (${fault})`);
  }
}

/** Proof that a relay's key has signed for two that follow it. */
export class TwoSuccessors extends NotItsKey {
  override readonly name = "TwoSuccessors";

  /** `branch`: statements from the first one on; the last is against the one known there. */
  constructor(
    readonly relayId: Bytes,
    readonly branch: readonly Bytes[],
  ) {
    super("two_successors");
  }
}

/** Of a relay of which nothing but its id is known. */
export const lineage = (relayId: Bytes): Lineage => ({ relayId, statements: [], keys: [] });

/** One that was verified before it was kept. */
export function recalled(relayId: Bytes, statements: readonly Bytes[]): Lineage {
  const records = statements.map((raw) => statement(peek(raw)));
  const first = records.slice(0, 1).map(({ key }) => key);
  return { relayId, statements, keys: [...first, ...records.map((one) => one.next_key)] };
}

/** Of a relay of which nothing is known: the id follows from what it shows. Throws as `proven`. */
export function firstSeen(key: Bytes, shown: readonly Bytes[]): Lineage {
  const [earliest] = shown;
  const first = earliest === undefined ? key : statement(peek(earliest)).key;
  return proven(lineage(relayIdOf(first)), key, shown);
}

/** Whether this is the key that the relay has now. */
export const isCurrent = ({ relayId, keys }: Lineage, key: Bytes): boolean =>
  equal(keys.at(-1) ?? relayId, keys.length > 0 ? key : relayIdOf(key));

/** Whether this is, or was, a key of the relay's. */
export const had = ({ relayId, keys }: Lineage, key: Bytes): boolean =>
  keys.some((one) => equal(one, key)) || equal(relayIdOf(key), relayId);

/**
 * With what these statements add to what is known; fewer than are known change nothing. Throws
 * `Malformed`, `Refused` or `NotItsKey` if one does not verify, `TwoSuccessors` if they part from
 * those known.
 */
export function followed(known: Lineage, shown: readonly Bytes[]): Lineage {
  if (shown.length > limits.SUCCESSIONS) {
    throw new Malformed("too_large", "a relay's key can not be replaced so often");
  }
  let keys = known.keys.slice(0, 1);
  for (const [at, raw] of shown.entries()) {
    const isThere = at < known.statements.length;
    if (isThere && saysKnown(known, raw, at)) {
      keys = known.keys.slice(0, at + 2);
      continue;
    }
    const { key, next_key: next } = verified(known.relayId, raw, at + 1, keys.at(-1));
    if (isThere) {
      throw new TwoSuccessors(known.relayId, shown.slice(0, at + 1));
    }
    const before = keys.length > 0 ? keys : [key];
    // What was given up does not come back.
    if (before.some((one) => equal(one, next))) throw new NotItsKey("unproven");
    keys = [...before, next];
  }
  if (shown.length <= known.statements.length) return known;
  const more = shown.slice(known.statements.length);
  return { relayId: known.relayId, statements: [...known.statements, ...more], keys };
}

/** Whether it says what is known already: said anew, in other bytes, it costs no verification. */
const saysKnown = ({ statements, keys }: Lineage, raw: Bytes, at: number): boolean =>
  equal(statements[at] as Bytes, raw) ||
  equal(statement(peek(raw)).next_key, keys[at + 1] as Bytes);

/**
 * The same relay, which has proven to hold `key`, and shows these statements. Throws as `followed`,
 * and `NotItsKey` unless that is the key it has now.
 */
export function proven(known: Lineage, key: Bytes, shown: readonly Bytes[]): Lineage {
  const longer = followed(known, shown);
  if (!isCurrent(longer, key)) throw new NotItsKey(had(longer, key) ? "superseded" : "unproven");
  return longer;
}

/**
 * What is known, with what `other` adds, which was verified apart from it and shown on a link: what is
 * known can have grown meanwhile. Throws `TwoSuccessors` if they part, `NotItsKey` if `other` is behind.
 */
export function merged(known: Lineage, other: Lineage): Lineage {
  for (const [at, key] of known.keys.entries()) {
    const its = other.keys[at];
    if (its === undefined) throw new NotItsKey("superseded");
    if (!equal(its, key)) throw new TwoSuccessors(known.relayId, other.statements.slice(0, at));
  }
  return other.statements.length > known.statements.length ? other : known;
}

/**
 * A record that the relay has signed, by any of its keys; throws as `openSigned`. `key` is the one
 * that it is said to be by: it is what counts where no statement is known, and if it hashes to the id.
 */
export function openedBy(known: Lineage, key: Bytes, envelope: Bytes): Signed {
  const newest = [...known.keys].reverse();
  if (newest.length === 0 && had(known, key)) newest.push(key);
  for (const candidate of newest) {
    try {
      return openSigned(candidate, envelope);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
  }
  throw new Refused("bad_signature");
}

/** The statement, by the key before it and the one after it. */
function verified(
  relayId: Bytes,
  raw: Bytes,
  number: number,
  known: Bytes | undefined,
): RecordOf<"succession"> {
  if (raw.length > limits.SUCCESSION_BYTES) {
    throw new Malformed("too_large", "a statement of a relay's about its key is too large");
  }
  const claimed = statement(peek(raw));
  const isFirst = known === undefined && equal(relayIdOf(claimed.key), relayId);
  const before = isFirst ? claimed.key : known;
  if (before === undefined || !equal(claimed.key, before)) throw new NotItsKey("unproven");
  const record = statement(openSigned(before, raw));
  const accept = openSigned(record.next_key, record.accept).record;
  const fits =
    accept.type === "succession_accept" &&
    [record, accept].every(
      (one) => one.number === number && equal(one.relay_id, relayId) && equal(one.key, before),
    );
  if (!fits) throw new NotItsKey("unproven");
  return record;
}

function statement({ record }: Signed): RecordOf<"succession"> {
  if (record.type !== "succession") {
    throw new Malformed("bad_record", "this is no statement of a relay's about its key");
  }
  return record;
}
