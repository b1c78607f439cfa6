/** Rooms that Python moved by force: the same hubs here, and what may not stand there. */

import { describe, expect, test } from "vitest";

import { applyVerified, type Standing, verifyChain } from "../src/e2e/chain.ts";
import { checkClaim, checkRoot, Moves, type Parting, readMove, seenOf } from "../src/e2e/moves.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { Malformed } from "../src/protocol/codes.ts";
import { eventId } from "../src/themis/index.ts";
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

  test.each<Vector>(forced.refused)("refuses: $why", ({ log, seq, record, code }) => {
    const state = verifyChain(room, chainOf(log));
    expect(() => applyVerified(state, fromHex(record), seq)).toThrow(
      expect.objectContaining({ code }),
    );
  });
});

describe("what is told of a move", () => {
  test.each<Vector>(forced.parts)("$why", ({ log, told, blind, kept, base, hub, code, rivals }) => {
    const envelopes = (told as string[]).map(fromHex);
    expect(rivalsOf(log, envelopes)).toEqual(rivals);
    const found = () => parted(log, envelopes, blind, kept);
    if (code !== undefined && code !== null) {
      expect(found).toThrow(expect.objectContaining({ code }));
      return;
    }
    const parting = found();
    const outcome = parting && { base: parting.base, hub: hex(parting.last.record.hub) };
    expect(outcome).toEqual(base === undefined ? undefined : { base, hub });
  });

  test("what is no record at all is no move", () => {
    expect(() => Moves.read(room, [new Uint8Array(9)])).toThrow("not a signed record");
  });
});

/** As tests/vectors/making/forced.py has it. */
function parted(
  log: string,
  told: readonly Uint8Array[],
  blind: boolean,
  kept?: string,
): Parting | undefined {
  const chain = chainOf(log);
  const hashes = (forced.logs[log].hashes as string[]).map(fromHex);
  const end = hashes.length - 1;
  const state = verifyChain(room, chain);
  const moves = Moves.read(room, told);
  const news = moves.news(state, kept === undefined ? undefined : readMove(fromHex(kept)));
  if (news === undefined) return undefined;
  checkClaim(news, state);
  const { seq } = seenOf(news[0]);
  const parting = moves.part(news, state, end, blind && seq < end ? undefined : hashes[seq]);
  checkRoot(verifyChain(room, chain, { before: parting.base + 1 }), state);
  return parting;
}

function rivalsOf(log: string, told: readonly Uint8Array[]): string[][] {
  try {
    const pairs = Moves.read(room, told).rivals(verifyChain(room, chainOf(log)));
    return pairs.map(([own, one]) => [hex(own.eventId), hex(eventId(one))]);
  } catch (error) {
    if (error instanceof Malformed) return [];
    throw error;
  }
}
