/** A whole room that Python made: its log leads here to the same state, keys, words and numbers. */

import { describe, expect, test } from "vitest";

import { applyVerified, type Standing, verifyChain } from "../src/e2e/chain.ts";
import type { EpochKeys } from "../src/e2e/epochs.ts";
import { memberKeys } from "../src/e2e/keys.ts";
import { resumedLog, type SenderHead } from "../src/e2e/log.ts";
import * as trust from "../src/e2e/trust.ts";
import { take, type View } from "../src/e2e/view.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { type Member, memberOf } from "../src/protocol/room.ts";
import { peek } from "../src/themis/index.ts";
import { type Vector, vectors } from "./vectors.ts";

const chain = vectors("chain");
const log = chain.log as Vector[];
const room = fromHex(chain.room);
const controls: Standing[] = log
  .filter((row) => row.cell === undefined)
  .map((row) => [row.seq, fromHex(row.record)]);
const whole = verifyChain(room, controls);

function member(name: string) {
  const found = vectors("keys").members[name];
  const pair = (raw: Vector) => ({ private: fromHex(raw.private), public: fromHex(raw.public) });
  return memberKeys(pair(found.sign), pair(found.encrypt));
}

function viewOf(name: string, start: number): View {
  const state = verifyChain(room, controls, { before: start });
  const keys: EpochKeys = {
    nonce: state.nonce,
    keys: new Map([[state.epoch, fromHex(chain.keys[String(state.epoch)])]]),
  };
  const before = log[start - 1] as Vector;
  return {
    mine: member(name),
    state,
    keys,
    log: resumedLog(room, start - 1, fromHex(before.log)),
    senders: new Map(),
  };
}

function readOn(from: View): { view: View; heard: string[][] } {
  let view = from;
  const heard: string[][] = [];
  for (const row of log.slice(from.log.seq + 1)) {
    const box = row.boxes?.[hex(from.mine.mid)];
    const cell = row.cell === undefined ? new Uint8Array() : fromHex(row.cell);
    const taken = take(view, row.seq, fromHex(row.record), cell, box && fromHex(box));
    view = taken.view;
    expect(hex(view.log.log)).toBe(row.log);
    const content = taken.opened?.body.content;
    if (taken.opened && content?.type === "text") {
      heard.push([hex(taken.opened.event.mid), content.text]);
    }
  }
  return { view, heard };
}

describe("the control log", () => {
  test("leads to its state", () => {
    const said = chain.state;
    expect(whole.seq).toBe(said.seq);
    expect(hex(whole.ctl)).toBe(said.ctl);
    expect(whole.epoch).toBe(said.epoch);
    expect(whole.epochSeq).toBe(said.epoch_seq);
    expect(hex(whole.keyCommitment)).toBe(said.key_commitment);
    expect(hex(whole.root)).toBe(said.root);
    expect(Object.fromEntries(whole.departed)).toEqual(said.departed);
    expect(whole.boxedDue).toBe(said.boxed_due);
    expect(whole.closed).toBe(said.closed);
    const keys = (one: Member) => [hex(one.encKey), hex(one.firstEncKey), one.renewals];
    expect([...whole.members.values()].map((m) => [hex(m.mid), m.role, ...keys(m)])).toEqual(
      said.members.map((m: Vector) => [m.mid, m.role, m.enc_key, m.first_enc_key, m.renewals]),
    );
  });

  test.each<Vector>(chain.refused)("refuses: $why", (one) => {
    expect(() => applyVerified(whole, fromHex(one.record), whole.seq + 9)).toThrow(
      expect.objectContaining({ code: one.code }),
    );
  });

  test("has the numbers that people compare", () => {
    const [one, other] = chain.trust.members.map((mid: string) => memberOf(whole, fromHex(mid)));
    expect(trust.safetyNumber(whole, one, other)).toBe(chain.trust.safety_number);
    expect(trust.safetyNumber(whole, other, one)).toBe(chain.trust.safety_number);
    expect(trust.shortCode(whole, one, other)).toBe(chain.trust.short_code);
    expect(trust.roomSafetyNumber(whole)).toBe(chain.trust.room_safety_number);
    expect(trust.fingerprint(one)).toBe(chain.trust.fingerprint);
    expect(trust.relayFingerprint(whole.relayId)).toBe(chain.trust.relay_fingerprint);
  });
});

describe("a member's view", () => {
  test("of the founder follows every rotation and hears every word", () => {
    const { view, heard } = readOn(viewOf("root", 1));
    expect(heard).toEqual(chain.heard);
    const keys = Object.fromEntries([...view.keys.keys].map(([epoch, key]) => [epoch, hex(key)]));
    expect(keys).toEqual(chain.keys);
  });

  test.each([
    ["bo", "and Bo"],
    ["ana", "Bo does not read this"],
  ])("closes behind %s", (name, last) => {
    const { mid } = member(name);
    const joined = log.find((row) => {
      const { record } = peek(fromHex(row.record));
      return record.type === "admit" && hex(verifyAdmitted(row)) === hex(mid);
    }) as Vector;
    const { heard } = readOn(viewOf(name, joined.seq + 1));
    expect(heard.at(-1)?.[1]).toBe(last);
  });

  test("sees a dropped, a swapped, a repeated and an invented entry", () => {
    const view = viewOf("root", 1);
    const at = (seq: number) => {
      const row = log[seq] as Vector;
      return [fromHex(row.record), fromHex(row.cell ?? "")] as const;
    };
    expect(() => take(view, 2, ...at(2))).toThrow(/gap/);
    const { view: after } = take(view, 1, ...at(1));
    expect(() => take(after, 1, ...at(1))).toThrow(/gap/);
    expect(take(after, 2, ...at(1)).troubles[0]).toMatchObject({ fault: "replay" });
    expect(() => take(view, 1, new Uint8Array(40))).toThrow(/not a record/);
  });

  test("knows the last entry of a sender by its id alone", () => {
    const view = viewOf("root", 1);
    const { record, cell } = log[1] as Vector;
    const said = [fromHex(record), fromHex(cell ?? "")] as const;
    const { view: after } = take(view, 1, ...said);
    const [[mid, head]] = [...after.senders] as [[string, SenderHead]];
    const senders = new Map([[mid, { ...head, counter: 0, certain: false }]]);
    const again = take({ ...after, senders }, 2, ...said);
    expect(again.troubles[0]).toMatchObject({ fault: "replay" });
    expect(again.opened).toBeUndefined();
  });

  test("shows no word of a changed cell", () => {
    const [record, cell] = [fromHex((log[1] as Vector).record), fromHex((log[1] as Vector).cell)];
    cell[cell.length - 1] = (cell.at(-1) as number) ^ 1;
    const taken = take(viewOf("root", 1), 1, record, cell);
    expect(taken.opened).toBeUndefined();
    expect(taken.troubles[0]).toMatchObject({ reason: "cell_mismatch" });
  });
});

function verifyAdmitted(row: Vector): Uint8Array {
  const before = verifyChain(room, controls, { before: row.seq });
  const { state } = applyVerified(before, fromHex(row.record), row.seq);
  const added = [...state.members.values()].find((one) => one.joinedSeq === row.seq);
  return added?.mid ?? new Uint8Array();
}
