/**
 * Another relay to be at home at (ofcd/client/moving.py, docs/protocol.md, Changing homes).
 *
 * A member says so in the control log. Once its HOME stands there, and not before, the vault names the
 * new relay, in the same turn; the room is then taken to that relay's link.
 */

import type { Making } from "../e2e/controls.ts";
import { headerFields, signControl } from "../e2e/controls.ts";
import type { Parting } from "../e2e/moves.ts";
import { firstReachable } from "../protocol/addresses.ts";
import { equal } from "../protocol/bytes.ts";
import type { RecordOf } from "../protocol/records.ts";
import { hubOf, memberOf, termOf } from "../protocol/room.ts";
import { amend, type Draft } from "./core.ts";
import type { SavedRoom } from "./saved.ts";

/** A relay, and where it answers. */
export interface Place {
  readonly url: string;
  readonly relayId: Uint8Array;
}

/** HOME: I am at home at the relay `home` from now on. */
export const makeHome = (making: Making, home: Uint8Array) =>
  signControl(making, { type: "home", ...headerFields(making), home });

/**
 * HUB_MOVE: the relay `hub`, where somebody is at home, orders the room from the next entry on; by
 * force, from the end of its copy on, which `making` has seen.
 */
export const makeHubMove = (
  making: Making,
  hub: Place,
  { force = false, term = termOf(making.state) + 1 } = {},
) => {
  const before = making.state.moved.at(-1)?.eventId;
  return signControl(making, {
    type: "hub_move",
    ...headerFields(making),
    hub: hub.relayId,
    urls: [hub.url],
    term,
    force,
    after: before?.length ? before : undefined, // an earlier version did not keep it
  });
};

/** The address of the relay that orders the room: the one that invites name. */
export const hubUrlOf = ({ hubUrl, url }: Pick<SavedRoom, "hubUrl" | "url">): string =>
  hubUrl || url;

/** This room is reached there from now on. */
export function relocate(draft: Draft, { url, relayId }: Place): void {
  const isHub = equal(relayId, hubOf(draft.view.state));
  amend(draft, { url, relayId, hubUrl: isHub ? "" : hubUrlOf(draft.saved) });
}

/** The room's own relay takes every member, wherever that is at home. */
export function goToHub(draft: Draft): void {
  relocate(draft, { url: hubUrlOf(draft.saved), relayId: hubOf(draft.view.state) });
}

/**
 * Go to where the control log says that this member is at home; where nobody here knows that relay's
 * address, to the room's own.
 */
export function followHome(draft: Draft): void {
  const { saved, view } = draft;
  const { home } = memberOf(view.state, view.mine.mid);
  const { moving } = saved;
  if (moving !== undefined && equal(moving.relayId, home)) {
    relocate(draft, moving);
    amend(draft, { moving: undefined });
  } else if (!equal(saved.relayId, home)) goToHub(draft);
}

/**
 * The room was moved: this client stays at its relay, which follows there. Who was at the hub of
 * before only because it was the hub is so at the new one, where that is not in a private network
 * which it did not reach before: whoever wants that goes there (HOME).
 */
export function followHub(draft: Draft, { hub, urls }: RecordOf<"hub_move">): void {
  const { relayId } = draft.saved;
  const url = firstReachable(urls, draft.saved.url);
  const { home } = memberOf(draft.view.state, draft.view.mine.mid);
  const stays = equal(relayId, hub) || equal(relayId, home);
  if (!stays && url !== undefined) relocate(draft, { url, relayId: hub });
  else amend(draft, { hubUrl: equal(relayId, hub) ? "" : (url ?? urls[0] ?? "") });
}

/**
 * A move took this member's HOME back: go to the new hub, which takes everybody in. Where this client
 * is now, nobody lets it in any more.
 */
export function leaveVoid(draft: Draft, { last: { record } }: Parting): void {
  const { saved, view } = draft;
  const { state, mine } = view;
  const { home } = memberOf(state, mine.mid);
  const hubs = [state.relayId, record.hub, ...state.moved.map(({ relayId }) => relayId)];
  const stays =
    equal(state.root, mine.mid) || [home, ...hubs].some((one) => equal(one, saved.relayId));
  const url = firstReachable(record.urls, saved.url);
  if (!stays && url !== undefined) relocate(draft, { url, relayId: record.hub });
}
