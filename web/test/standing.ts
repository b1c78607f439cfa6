/** A room of vectors, open in a vault, at a relay made by hand: not the one that it names. */

import "fake-indexeddb/auto";

import { onTestFinished } from "vitest";

import { Room } from "../src/client/room.ts";
import { newRoom } from "../src/client/saved.ts";
import { saveNewRoom } from "../src/client/tables.ts";
import { Turn, Vault } from "../src/client/vault.ts";
import { verifyChain } from "../src/e2e/chain.ts";
import { memberKeys, newMemberKeys } from "../src/e2e/keys.ts";
import { resumedLog, type Seen } from "../src/e2e/log.ts";
import { makeReceipt } from "../src/e2e/receipts.ts";
import { type Signal, sealSignal } from "../src/e2e/signals.ts";
import type { View } from "../src/e2e/view.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import type { ClientFrame } from "../src/protocol/frames.ts";
import type { Link, Request } from "../src/wire/link.ts";
import { type Vector, vectors } from "./vectors.ts";

const chain = vectors("chain");
const log = chain.log as Vector[];
export const id = fromHex(chain.room);
export const wrong = new Uint8Array(32).fill(1);

export function member(name: string) {
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

/**
 * `answer` is what the relay says to what is none of attaching and catching up; without one it says
 * nothing: what a room does of its own accord, it may do at any time. It is open until the test ends.
 */
export async function opened(answer?: (request: Request) => Promise<unknown>) {
  const vault = await Vault.create(`standing-${++vaults}`, "so geheim");
  const view = viewOf("root");
  const turn = new Turn(vault);
  saveNewRoom(turn, newRoom({ room: id, url: "ws://r", relayId: wrong }), view);
  await vault.commit(turn);
  const room = new Room(vault, hex(id), () => undefined);
  onTestFinished(() => room.close());
  const told: ClientFrame[] = [];
  const { seq, log: end } = view.log;
  const ask = async (request: Request) => {
    if (request.type === "sync") {
      return { type: "synced", start: seq + 1, floor: 0, head: seq, log: end };
    }
    if (request.type === "attach") {
      return { type: "attached", seq, log: end, cursor: seq, counter: 0 };
    }
    return answer?.(request) ?? new Promise(() => undefined);
  };
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
    await room.markRead(room.saved.readUpTo + 1); // behind all that this brought about
    return room.delivery({ seq, mid: room.me }).reached.includes(hex(other.mid));
  };
  const receipt = (seen: Seen, keys = theirs, of = id) => makeReceipt(of, keys, seen, 0).envelope;
  return { room, view, told, hear, receipt, theirs, mid: other.mid };
}
