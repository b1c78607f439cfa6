/**
 * Moving a room whose hub is gone for good: what root looks at, and signs (ofcd/client/forcing.py;
 * docs/protocol.md, A hub that is gone for good).
 *
 * A room goes on from the end of the copy that root chooses. Root's browser looks first: what it has
 * and the copy lacks would come to nothing. It signs nothing that would undo a change of the room.
 */

import { equal } from "../protocol/bytes.ts";
import { hubOf, type Member } from "../protocol/room.ts";
import { LinkLost } from "../wire/link.ts";
import { type Draft, isSamePlace, mark, type RoomCore } from "./core.ts";
import type { Entry } from "./entries.ts";
import { placeFrom, savedPlace } from "./forcedesk.ts";
import { hashOf, type Row, rowsBehind } from "./journal.ts";
import { type Place, relocate } from "./moving.ts";
import { NotMoved } from "./notmoved.ts";
import type { Room } from "./room.ts";
import { json } from "./saved.ts";

/** A relay's copy of a room, beside what this browser has of it. */
export interface Survey {
  readonly place: Place;
  /** Where the copy ends, and L there. */
  readonly seq: number;
  readonly log: Uint8Array;
  /** Messages that are here, and that the copy lacks; and how many of them are one's own. */
  readonly messages: number;
  readonly own: number;
}

/** Milliseconds for a relay to let root in, and to take the move. */
const REACH_MS = 10_000;

/** Whether the room was moved by force, and root is at home still at the relay that is gone. */
function isHalfDone({ state, me }: Room): boolean {
  const { moved, members, relayId } = state;
  const gone = moved.at(-2)?.relayId ?? relayId;
  return moved.at(-1)?.forced === true && equal((members.get(me) as Member).home, gone);
}

/** Root's alone; to a relay that has a copy. Throws `NotMoved`. */
function check({ state }: Room, { relayId }: Place): void {
  if (equal(hubOf(state), relayId)) throw new NotMoved("already_there");
  const homes = [...state.members.values()].map(({ home }) => home);
  if (!homes.some((home) => equal(home, relayId))) throw new NotMoved("no_copy");
}

/**
 * What the relay at this place has of the room, and what would be lost if it went on from that.
 * Whatever the copy has and this browser had not is here afterwards. Rejects with `NotMoved`
 * (`copy_lacks`: a change of the room would come to nothing), `LinkLost`.
 */
export async function surveyHub(room: Room, core: RoomCore, place: Place): Promise<Survey> {
  const { seq, log } = core.view.log;
  if (isHalfDone(room) && equal(hubOf(room.state), place.relayId))
    return { place, seq, log, messages: 0, own: 0 }; // all that is left is to be at home there
  check(room, place);
  const look = async () => {
    const end = await endOf(room);
    const ours = await hashOf(core, core.view.log, end.seq);
    if (ours !== undefined && !equal(ours, end.log)) throw new NotMoved("other_log");
    const rows = await rowsBehind(core.vault, core.tables.log, end.seq);
    const isChanged = rows.some(([, raw]) => json.read<Row>(raw).isControl);
    if (isChanged || core.view.state.seq > end.seq) throw new NotMoved("copy_lacks");
    const found = await rowsBehind(core.vault, core.tables.archive, end.seq);
    const lost = found.map(([, raw]) => json.read<Entry>(raw));
    const own = lost.filter(({ mid }) => mid === core.me).length;
    return { place, ...end, messages: lost.length, own };
  };
  return tryAt(room, core, place, look, false);
}

/**
 * Have that relay order the room from the end of its copy on, the one so far unasked: what else was
 * ever ordered behind that is void, for everybody. Settled once the room is live there. Rejects as
 * `surveyHub`, with `NotMoved` (`copy_changed`), `Refused`, `RelayRefused`.
 */
export async function forceHub(
  room: Room,
  core: RoomCore,
  { place, seq, log }: Survey,
): Promise<void> {
  const move = async () => {
    const end = await endOf(room);
    if (end.seq !== seq || !equal(end.log, log)) throw new NotMoved("copy_changed");
    await room.forceMove(place, end);
  };
  if (!equal(hubOf(room.state), place.relayId)) await tryAt(room, core, place, move);
  const isThere = () => room.isLive && equal(hubOf(room.state), place.relayId);
  if (!(await room.until(isThere, REACH_MS))) throw new LinkLost("that relay has not let root in");
  if (isHalfDone(room)) await room.moveHome(place);
}

async function endOf(room: Room) {
  const isRefused = () => room.endOfCopy === undefined && room.refusal !== "";
  await room.until(() => room.endOfCopy !== undefined || isRefused(), REACH_MS);
  const { endOfCopy } = room;
  if (endOfCopy === undefined) throw new LinkLost("that relay has not let root in");
  return endOfCopy;
}

/** Do this with the room reached there; if it fails, or not to `stay`, go back to where it was. */
export async function tryAt<T>(
  room: Room,
  core: RoomCore,
  place: Place,
  act: () => Promise<T>,
  stay = true,
): Promise<T> {
  const before = { url: room.url, relayId: room.relayId };
  if (!isSamePlace(before, place)) {
    await core.change((draft) => {
      mark(draft, { visiting: draft.marks.visiting ?? savedPlace(before) });
      relocate(draft, place);
    });
  }
  let isDone = false;
  try {
    const done = await act();
    isDone = true;
    return done;
  } finally {
    await core.change((draft) => leave(draft, place, isDone && stay));
  }
}

/** The visit to a relay is over; not while nobody knows whether the room goes on there. */
function leave(draft: Draft, place: Place, stays: boolean): void {
  const { visiting, forcing } = draft.marks;
  if (visiting === undefined || forcing !== undefined) return;
  mark(draft, { visiting: undefined });
  if (!stays && isSamePlace(draft.saved, place)) relocate(draft, placeFrom(visiting));
}

/** A page that was closed during a visit is opened again. */
export const endVisit = (core: RoomCore): Promise<void> =>
  core.change((draft) => leave(draft, draft.saved, false));
