/** To whose devices a message has come: proven by signatures, believed of nobody else. */

import "fake-indexeddb/auto";
import { expect, test } from "vitest";

import { Room } from "../src/client/room.ts";
import { saveNewRoom } from "../src/client/tables.ts";
import { Turn, Vault } from "../src/client/vault.ts";
import { verifyChain } from "../src/e2e/chain.ts";
import { memberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { resumedLog, type Seen, seenOf } from "../src/e2e/log.ts";
import { makeReceipt } from "../src/e2e/receipts.ts";
import { openSignal, type Signal, sealSignal } from "../src/e2e/signals.ts";
import type { View } from "../src/e2e/view.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import type { ClientFrame } from "../src/protocol/frames.ts";
import type { Link, Request } from "../src/wire/link.ts";
import { type Vector, vectors } from "./vectors.ts";

const chain = vectors("chain");
const log = chain.log as Vector[];
const id = fromHex(chain.room);
const wrong = new Uint8Array(32).fill(1);

function member(name: string) {
  const found = vectors("keys").members[name];
  const pair = (raw: Vector) => ({ private: fromHex(raw.private), public: fromHex(raw.public) });
  return memberKeys(pair(found.sign), pair(found.encrypt));
}

/** Root's room as it stands at the end of the recorded log. */
function viewOf(name: string): View {
  const controls = log
    .filter((row) => row.cell === undefined)
    .map((row) => [row.seq, fromHex(row.record)] as const);
  const state = verifyChain(id, controls);
  const keys = new Map([[state.epoch, fromHex(chain.keys[String(state.epoch)])]]);
  const last = log.at(-1) as Vector;
  return {
    mine: member(name),
    state,
    keys: { nonce: state.nonce, keys },
    log: resumedLog(id, last.seq, fromHex(last.log)),
    senders: new Map(),
  };
}

let vaults = 0;

async function opened() {
  const vault = await Vault.create(`receipts-${++vaults}`, "so geheim");
  const view = viewOf("root");
  const turn = new Turn(vault);
  const saved = { room: id, url: "ws://r", relayId: wrong, name: "", myName: "", readUpTo: 0 };
  const more = { status: "active", code: "", reason: "", genesis: undefined } as const;
  const rest = { createToken: "", hubUrl: "" };
  saveNewRoom(turn, { ...saved, ...more, ...rest }, view);
  await vault.commit(turn);
  const room = new Room(vault, hex(id), () => undefined);
  const told: ClientFrame[] = [];
  const { seq, log: end } = view.log;
  const ask = async ({ type }: Request) =>
    type === "sync"
      ? { type: "synced", start: seq + 1, floor: 0, head: seq, log: end }
      : { type: "attached", seq, log: end, cursor: seq, counter: 0 };
  const welcome = { challenge: wrong };
  const link = { ask, tell: (it: ClientFrame) => told.push(it), welcome } as unknown as Link;
  await room.attach(link, newMemberKeys().sign.public);
  const [other] = [...view.state.members.values()].filter(({ mid }) => hex(mid) !== room.me);
  if (other === undefined) throw new Error("the recorded room has one member");
  const names = Object.keys(vectors("keys").members);
  const name = names.find((one) => hex(member(one).mid) === hex(other.mid));
  const theirs = member(name as string);
  const hear = async (signal: Partial<Signal>, mid = other.mid) => {
    const whole = { kind: "seen", ts: Date.now(), ...signal };
    const cell = sealSignal(id, view.state.epoch, view.keys, mid, whole);
    room.receive({ type: "signalled", room: id, mid, epoch: view.state.epoch, cell });
    await new Promise((resolve) => setTimeout(resolve, 20));
    return room.delivery({ seq, mid: room.me }).reached.includes(hex(other.mid));
  };
  const receipt = (seen: Seen, keys = theirs, of = id) => makeReceipt(of, keys, seen, 0).envelope;
  return { room, view, told, hear, receipt, theirs, mid: other.mid };
}

test("a member's own receipt is believed, however late it comes", async () => {
  const { room, view, hear, receipt } = await opened();
  expect(await hear({ receipt: receipt(seenOf(view.log)), ts: 0 })).toBe(true);
  room.close();
});

test("nobody makes one for another, of another room, or of another log", async () => {
  const { room, view, hear, receipt, theirs } = await opened();
  const seen = seenOf(view.log);
  expect(await hear({ receipt: receipt(seen, member("root")) })).toBe(false);
  expect(await hear({ receipt: receipt(seen, theirs, wrong) })).toBe(false);
  expect(await hear({ receipt: receipt({ ...seen, log: wrong }) })).toBe(false);
  expect(await hear({ receipt: receipt({ seq: seen.seq + 9, log: wrong }) })).toBe(false);
  expect(await hear({ receipt: receipt(seen).subarray(1) })).toBe(false);
  expect(await hear({})).toBe(false);
  expect(room.saved.status).toBe("active");
  room.close();
});

test("who is asked answers once, with its own", async () => {
  const { room, view, told, hear, receipt } = await opened();
  const signals = () => told.filter((frame) => frame.type === "signal");
  expect(signals()).toHaveLength(0);
  await hear({ receipt: receipt(seenOf(view.log)), ask: true });
  await hear({ receipt: receipt(seenOf(view.log)), ask: true });
  await new Promise((resolve) => setTimeout(resolve, 3_200));
  expect(signals()).toHaveLength(1);
  const [sent] = signals();
  const { state, keys, mine } = view;
  const signal = openSignal(id, state.epoch, keys, mine.mid, sent?.cell as Uint8Array, 0);
  expect([signal.kind, signal.ask]).toEqual(["seen", false]);
  room.close();
});
