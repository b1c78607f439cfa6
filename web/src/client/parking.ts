/** Messages that came before their key: kept as they came, and opened once it is here. */

import { openVerified, type SignedEvent, Unreadable } from "../e2e/events.ts";
import { LogBroken } from "../e2e/log.ts";
import type { Taken, View } from "../e2e/view.ts";
import { b64decode, b64encode } from "../protocol/bytes.ts";
import { peek } from "../themis/index.ts";
import type { Entry, Parked } from "./entries.ts";
import { told } from "./told.ts";

/** Whether all that is wrong with a message is that its key is not here. */
export function isParked({ event, troubles }: Taken): boolean {
  const isBroken = troubles.some((one) => one instanceof LogBroken);
  const lacks = ({ reason }: Unreadable) => reason === "missing_key";
  return (
    event !== undefined &&
    !isBroken &&
    troubles.some((one) => one instanceof Unreadable && lacks(one))
  );
}

/** The marker of such a message, and what to open it by; `caps` are what its sender has now. */
export function parked(
  entry: Entry,
  record: Uint8Array,
  cell: Uint8Array,
  caps: ReadonlySet<string>,
): Entry {
  const kept: Parked = { record: b64encode(record), cell: b64encode(cell), caps: [...caps] };
  return { ...entry, parked: kept };
}

/** The same once it is sure that its key will not come. */
export const keyLost = ({ parked: _, ...entry }: Entry): Entry => ({
  ...entry,
  text: told("unreadable.key_lost"),
});

/** What it comes to, now that its key is here; its header was verified when it came. */
export function opened(view: View, { parked: kept }: Entry): Taken {
  const { record, cell, caps } = kept as Parked;
  const event = peek(b64decode(record)) as SignedEvent;
  try {
    const said = openVerified(view.keys, event, b64decode(cell), new Set(caps));
    return { view, event, opened: said, troubles: [] };
  } catch (error) {
    if (error instanceof Unreadable) return { view, event, troubles: [error] };
    throw error;
  }
}
