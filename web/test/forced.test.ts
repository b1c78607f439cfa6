/** Rooms that Python moved by force: the same hubs here, and what may not stand there. */

import { describe, expect, test } from "vitest";

import { applyVerified, type Standing, verifyChain } from "../src/e2e/chain.ts";
import { Moves, type Parting } from "../src/e2e/moves.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { type Vector, vectors } from "./vectors.ts";

const forced = vectors("forced");
const room = fromHex(forced.room);
const chainOf = (log: string): Standing[] =>
  (forced.logs[log].chain as Vector[]).map((row) => [row.seq, fromHex(row.record)]);

describe("a room whose hub is gone for good", () => {
  test.each(Object.keys(forced.logs))("names its hubs: %s", (log) => {
    const state = verifyChain(room, chainOf(log));
    const expected = forced.states[log];
    const hubs = state.moved.map((hub) => ({
      term: hub.term,
      relay_id: hex(hub.relayId),
      since: hub.since,
      urls: hub.urls,
      forced: hub.forced,
      event_id: hex(hub.eventId),
    }));
    expect(hubs).toEqual(expected.hubs.slice(1));
    expect([hex(state.ctl), state.epoch]).toEqual([expected.ctl, expected.epoch]);
  });

  test("has new keys handed to everybody next", () => {
    const move = chainOf("new").at(-2)?.[0] ?? 0;
    expect(verifyChain(room, chainOf("new"), { before: move + 1 }).boxedDue).toBe(true);
  });

  test.each<Vector>(forced.refused)("refuses: $why", ({ seq, record, code }) => {
    const state = verifyChain(room, chainOf("copy"));
    expect(() => applyVerified(state, fromHex(record), seq)).toThrow(
      expect.objectContaining({ code }),
    );
  });
});

describe("what is told of a move", () => {
  test.each<Vector>(forced.parts)("$why", ({ log, told, blind, base, hub, code }) => {
    const found = () => parted(log, told.map(fromHex), blind);
    if (code !== undefined && code !== null) {
      expect(found).toThrow(expect.objectContaining({ code }));
      return;
    }
    const parting = found();
    const outcome = parting && { base: parting.base, hub: hex(parting.last.record.hub) };
    expect(outcome).toEqual(base === undefined ? undefined : { base, hub });
  });

  test("none at all, those of another room, or something else, are no moves", () => {
    const [genesis] = chainOf("copy");
    const [move] = forced.parts[0].told.map(fromHex);
    expect(() => Moves.read(room, [])).toThrow("not moves");
    expect(() => Moves.read(new Uint8Array(32), [move])).toThrow("not moves");
    expect(() => Moves.read(room, [move, genesis?.[1] as Uint8Array])).toThrow("not moves");
    expect(() => Moves.read(room, [new Uint8Array(9)])).toThrow("not a signed record");
  });
});

/** As tests/vectors/making/forced.py has it. */
function parted(log: string, told: readonly Uint8Array[], blind: boolean): Parting | undefined {
  const chain = chainOf(log);
  const hashes = (forced.logs[log].hashes as string[]).map(fromHex);
  const end = hashes.length - 1;
  const state = verifyChain(room, chain);
  const moves = Moves.read(room, told);
  const seq = moves.firstMissing(state)?.seen.seq ?? -1;
  const parting = moves.part(state, end, blind && seq < end ? undefined : hashes[seq]);
  if (parting !== undefined) {
    moves.check(parting, verifyChain(room, chain, { before: parting.base + 1 }), state);
  }
  return parting;
}
