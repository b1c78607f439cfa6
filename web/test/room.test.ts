/** A room on a relay that lies, and members who would break it. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { applyChange, type Entry } from "../src/client/entries.ts";
import { Room } from "../src/client/room.ts";
import { saveNewRoom } from "../src/client/tables.ts";
import { Turn, Vault } from "../src/client/vault.ts";
import { makeGenesis } from "../src/e2e/genesis.ts";
import { makeInvite } from "../src/e2e/invites.ts";
import { newMemberKeys } from "../src/e2e/keys.ts";
import { seenOf } from "../src/e2e/log.ts";
import { take } from "../src/e2e/view.ts";
import { hex } from "../src/protocol/bytes.ts";
import type { Link, Request } from "../src/wire/link.ts";

const entry: Entry = {
  seq: 1,
  eventId: "00",
  mid: "aa",
  name: "",
  ts: 0,
  kind: "text",
  text: "hi",
  isMarkdown: false,
  replyTo: "",
  edited: false,
  reactions: {},
  file: undefined,
  via: "",
};
const reaction = (emoji: string, removed = false) =>
  ({ type: "reaction", target: new Uint8Array(32), emoji, removed }) as const;

test.each(["constructor", "toString", "__proto__"])("%s is an emoji like any other", (emoji) => {
  const once = applyChange(entry, "bb", reaction(emoji), false);
  const there = applyChange(JSON.parse(JSON.stringify(once)), "cc", reaction(emoji), false);
  expect(Object.entries(there.reactions)).toEqual([[emoji, ["bb", "cc"]]]);
  const left = applyChange(there, "bb", reaction(emoji, true), false);
  expect(Object.entries(left.reactions)).toEqual([[emoji, ["cc"]]]);
});

test("an entry holds 64 different emoji, and one that is redacted none", () => {
  let full = entry;
  for (let at = 0; at < 70; at += 1) full = applyChange(full, "bb", reaction(`e${at}`), false);
  expect(Object.keys(full.reactions)).toHaveLength(64);
  expect(applyChange(full, "cc", reaction("e0"), false).reactions["e0"]).toEqual(["bb", "cc"]);
  const gone = { ...entry, kind: "redacted" as const };
  expect(applyChange(gone, "bb", reaction("x"), false)).toBe(gone);
});

let vaults = 0;

/** A room with an open invite at seq 1, whose relay has nothing before 5, and shows `chain`. */
async function skipped(chain: (log: Uint8Array[]) => [number, Uint8Array][]) {
  const vault = await Vault.create(`room-${++vaults}`, "so geheim");
  const root = newMemberKeys();
  const relayId = new Uint8Array(32).fill(7);
  const { signed, view } = makeGenesis(root, relayId, Date.now());
  const making = { state: view.state, mine: root, seen: seenOf(view.log), now: Date.now() };
  const opened = makeInvite(making, "ws://r", { expires: Date.now() + 9e6 }).signed;
  const after = take(view, 1, opened.envelope).view;
  const saved = {
    room: view.state.room,
    url: "ws://r",
    relayId,
    name: "Garden",
    myName: "",
    readUpTo: 0,
    status: "active" as const,
    reason: "",
    genesis: undefined,
    createToken: "",
  };
  const turn = new Turn(vault);
  saveNewRoom(turn, saved, after);
  await vault.commit(turn);
  const room = new Room(vault, hex(view.state.room), () => undefined);
  const shown = chain([signed.envelope, opened.envelope]);
  const ask = async (request: Request) => {
    if (request.type === "sync") {
      return { type: "synced", start: 5, floor: 5, head: 4, log: new Uint8Array(32) };
    }
    if (request.type !== "chain_get") return { type: "ok" };
    const rows = shown.filter(([seq]) => seq >= request.start);
    const [seqs, records] = [rows.map(([seq]) => seq), rows.map(([, raw]) => raw)];
    return { type: "chain_page", seqs, records, more: false };
  };
  const welcome = { challenge: new Uint8Array(32) };
  const link = { ask, tell: () => undefined, welcome } as unknown as Link;
  await room.attach(link, newMemberKeys().sign.public);
  room.close();
  return room;
}

test("a relay that cuts the control log short takes back nothing that is known", async () => {
  const room = await skipped(([genesis]) => [[0, genesis as Uint8Array]]);
  expect([room.saved.status, room.state.seq, room.state.invites.size]).toEqual(["active", 1, 1]);
  expect(room.lastSeq).toBe(4);
});

test("a control log that does not go on from what is known freezes the room", async () => {
  const room = await skipped(([, opened]) => [[3, opened as Uint8Array]]);
  expect([room.saved.status, room.state.seq]).toEqual(["frozen", 1]);
});
