/** A room that Python moved to another hub: the same hubs here, and the same heads count. */

import { describe, expect, test } from "vitest";

import { applyVerified, type Standing, verifyChain } from "../src/e2e/chain.ts";
import { headOfHub } from "../src/e2e/trust.ts";
import { fromHex, hex } from "../src/protocol/bytes.ts";
import { hubOf } from "../src/protocol/room.ts";
import { type Vector, vectors } from "./vectors.ts";

const moves = vectors("moves");
const room = fromHex(moves.room);
const chain: Standing[] = (moves.log as Vector[]).map((row) => [row.seq, fromHex(row.record)]);
const whole = verifyChain(room, chain);
const hubs = moves.state.hubs as Vector[];

describe("a room that was moved", () => {
  test("names its hubs, and closed its invites", () => {
    const moved = whole.moved.map((hub) => ({
      term: hub.term,
      relay_id: hex(hub.relayId),
      since: hub.since,
      urls: hub.urls,
    }));
    expect(moved).toEqual(hubs.slice(1));
    expect(hex(hubOf(whole))).toBe(hubs.at(-1)?.relay_id);
    expect(hex(whole.ctl)).toBe(moves.state.ctl);
    expect([whole.invites.size, whole.boxedDue]).toEqual([0, moves.state.boxed_due]);
  });

  test.each<Vector>(moves.refused)("refuses: $why", ({ seq, record, code }) => {
    const isAgain = code === "conflict";
    const before = verifyChain(room, chain, { before: isAgain ? seq + 1 : seq });
    expect(() => applyVerified(before, fromHex(record), isAgain ? seq + 1 : seq)).toThrow(
      expect.objectContaining({ code }),
    );
  });

  test.each<Vector>(moves.heads)("by $why: counts is $counts", ({ key, record, counts }) => {
    expect(headOfHub(whole, fromHex(key), fromHex(record)) !== undefined).toBe(counts);
  });
});
