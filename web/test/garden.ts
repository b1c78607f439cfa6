/** A room that its root moves by force, as a member's browser has it, at relays made by hand. */

import { expect, onTestFinished, vi } from "vitest";

import type { RoomCore } from "../src/client/core.ts";
import { keepChain } from "../src/client/journal.ts";
import { Room } from "../src/client/room.ts";
import { newRoom } from "../src/client/saved.ts";
import { saveNewRoom, Tables } from "../src/client/tables.ts";
import { Turn } from "../src/client/vault.ts";
import type { Content } from "../src/e2e/bodies.ts";
import { headerFields, signControl } from "../src/e2e/controls.ts";
import { type MemberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { hashAt } from "../src/e2e/log.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { isControl } from "../src/protocol/records.ts";
import { peek } from "../src/themis/index.ts";
import type { Request } from "../src/wire/link.ts";
import { FakeLink, newVault, RELAY_ID, URL_ } from "./rooms.ts";
import { Stage } from "./stage.ts";

export const NEW = new Uint8Array(32).fill(9);
export const NEW_URL = "ws://new.example";
export const OTHER = new Uint8Array(32).fill(8);
type Answer = (request: Request) => object | undefined;

/** Ana's room: Bo, whose browser it is, and Cy, who is at home at the relay that it will go to. */
export function garden() {
  const stage = new Stage();
  const bo = stage.admit();
  const cy = stage.admit(stage.root, NEW);
  return { stage, bo, cy };
}

/** HUB_MOVE by force, behind all that this relay has. */
export const moveOf = (stage: Stage, hub = NEW, term = 1, by: MemberKeys = stage.root) => {
  const making = stage.making(by);
  const fields = headerFields(making);
  const urls = [hub === NEW ? NEW_URL : "ws://other.example"];
  const after = making.state.moved.at(-1)?.eventId;
  return signControl(making, { type: "hub_move", ...fields, hub, urls, term, force: true, after });
};

/** Root moves the room there; its record. */
export function forced(stage: Stage, hub = NEW, term = 1): Uint8Array {
  const signed = moveOf(stage, hub, term);
  stage.postAlone(signed);
  return signed.envelope;
}

interface Given {
  readonly relayId?: Uint8Array;
  /** The control log of an earlier version's vault is not there. */
  readonly isOld?: boolean;
}

/** A member's room in a vault of its own, as it is at this moment. */
export async function browser(stage: Stage, mine: MemberKeys, given: Given = {}) {
  const { relayId = RELAY_ID, isOld = false } = given;
  const vault = await newVault();
  const view = stage.view(mine);
  const id = hex(view.state.room);
  const turn = new Turn(vault);
  saveNewRoom(turn, newRoom({ room: view.state.room, url: URL_, relayId, hubUrl: URL_ }), view);
  const controls = stage.log.filter(([, raw]) => isControl(peek(raw).record));
  if (!isOld) keepChain(turn, new Tables(id), controls);
  await vault.commit(turn);
  const moved = vi.fn();
  const room = new Room(vault, id, () => undefined, { moved });
  onTestFinished(() => room.close());
  return { room, vault, moved, core: (room as unknown as { core: RoomCore }).core };
}

/** A link to a relay that has this log, and tells of these moves before it lets anybody in. */
export function linkTo(
  room: Room,
  stage: Stage,
  told: readonly Uint8Array[] = [],
  answer?: Answer,
) {
  return new FakeLink((request) => {
    const other = answer?.(request);
    if (other !== undefined) return other;
    const seq = stage.end;
    const known = stage.view(stage.root).log;
    if (request.type === "attach") {
      if (told.length > 0) room.receive({ type: "moved", room: known.room, records: told });
      return { type: "attached", seq, log: known.log, cursor: 0, counter: 0, last: undefined };
    }
    if (request.type === "sync") {
      const log = hashAt(known, request.start - 1);
      return { type: "synced", start: request.start, floor: 0, head: seq, log };
    }
    return request.type === "post" ? undefined : { type: "done" };
  });
}

/** The room attached there, with all that the relay has. */
export async function follow(
  room: Room,
  stage: Stage,
  told: readonly Uint8Array[] = [],
  answer?: Answer,
) {
  room.detach();
  const fake = linkTo(room, stage, told, answer);
  const attached = room.attach(fake.link, newMemberKeys().sign.public);
  await expect.poll(() => fake.of("sync")).toHaveLength(1);
  deliver(room, stage, room.lastSeq + 1);
  await attached;
  await expect.poll(() => [room.lastSeq, room.isLive]).toEqual([stage.end, true]);
  return fake;
}

export function deliver(room: Room, stage: Stage, from: number): void {
  const { room: id } = room.state;
  for (const [seq, record] of stage.log.slice(from)) {
    const box = stage.boxes.get(`${room.me} ${seq}`);
    if (box !== undefined) room.receive({ type: "box", room: id, seq, box });
    const cell = stage.cells.get(seq) ?? new Uint8Array();
    room.receive({ type: "delivery", room: id, seq, record, cell });
  }
}

/** What came to its relay since it was last caught up is in the room. */
export async function arrives(room: Room, stage: Stage) {
  deliver(room, stage, room.lastSeq + 1);
  await expect.poll(() => room.lastSeq).toBe(stage.end);
}

export const shownIn = async (room: Room) =>
  (await room.history()).filter(({ kind }) => kind !== "change").map(({ text }) => text);
export const waitingIn = (room: Room) => room.waiting().map(({ content }) => wordsOf(content));
const wordsOf = (content: Content) =>
  content.type === "text" || content.type === "edit"
    ? content.text
    : content.type === "reaction"
      ? content.emoji
      : content.type;

export const reaction = (target: string, emoji: string): Content => ({
  type: "reaction",
  target: fromHex(target),
  emoji,
  removed: false,
});
export const edit = (target: string, words: string): Content => ({
  type: "edit",
  target: fromHex(target),
  text: words,
  format: "plain",
  mentions: [],
});
export const redact = (target: string): Content => ({
  type: "redact",
  target: fromHex(target),
  reason: "",
});
