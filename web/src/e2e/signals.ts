/**
 * Typing: sealed, never stored, dropped when late (docs/protocol.md, Signals).
 *
 * A signal is not signed: any member could make one in another's name, so nothing but a hint on the
 * screen may hang on it. The one that carries something to rely on, `seen`, carries a signed receipt.
 */

import { concat, utf8 } from "../protocol/bytes.ts";
import { Malformed } from "../protocol/codes.ts";
import { dumpJson, parseJson } from "../protocol/json.ts";
import * as limits from "../protocol/limits.ts";
import * as is from "../protocol/schema.ts";
import { CannotOpen, randomBytes, seal, unseal } from "../themis/index.ts";
import { signalContext } from "./contexts.ts";
import { type EpochKeys, keyFor } from "./epochs.ts";
import { Unreadable } from "./events.ts";

/** Milliseconds after which (and before which) a signal says nothing any more. */
export const FRESH_MS = 60_000;
const NONCE_BYTES = 16;
const PADDED = 64;
const PADDED_RECEIPT = 640;
const SPACE = utf8(" ");

const NONE = new Uint8Array();
const fields = {
  kind: is.text(limits.SHORT_TEXT),
  ts: is.int(),
  receipt: is.optional(is.bytes(limits.SIGNAL_BYTES), NONE),
  ask: is.optional(is.bool, false),
};
/**
 * `kind` is "typing", "stopped", "online", "away", "seen" (with a signed `receipt`; `ask`: whoever
 * hears it is asked for theirs), or one from the future, which shows nothing.
 */
export type Signal = is.Infer<typeof fields>;

/** The cell of a signal of mine, `mid`; throws `KeyMissing`. */
export function sealSignal(
  room: Uint8Array,
  epoch: number,
  held: EpochKeys,
  mid: Uint8Array,
  signal: Pick<Signal, "kind" | "ts"> & Partial<Signal>,
): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES);
  const whole: Signal = { receipt: NONE, ask: false, ...signal };
  const said = dumpJson(is.writeFields(fields, whole));
  const size = whole.receipt.length > 0 ? PADDED_RECEIPT : PADDED;
  const padding = Math.max(0, size - said.length);
  const padded = concat(said, ...Array.from({ length: padding }, () => SPACE));
  const sealed = seal(keyFor(held, epoch), padded, signalContext(room, epoch, mid, nonce));
  return concat(nonce, sealed);
}

/** A signal that the relay says is of `mid`; throws `KeyMissing`, `Unreadable` also if stale. */
export function openSignal(
  room: Uint8Array,
  epoch: number,
  held: EpochKeys,
  mid: Uint8Array,
  cell: Uint8Array,
  now: number,
): Signal {
  const [nonce, sealed] = [cell.subarray(0, NONCE_BYTES), cell.subarray(NONCE_BYTES)];
  try {
    const raw = unseal(keyFor(held, epoch), sealed, signalContext(room, epoch, mid, nonce));
    const signal = is.readFields(fields, parseJson(raw, limits.SIGNAL_BYTES));
    if (signal.kind === "seen" || Math.abs(now - signal.ts) <= FRESH_MS) return signal;
  } catch (error) {
    if (error instanceof CannotOpen) throw new Unreadable("bad_seal");
    if (!(error instanceof Malformed)) throw error;
  }
  throw new Unreadable("bad_body");
}
