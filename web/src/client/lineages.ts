/**
 * How this browser's relays came to the keys they have: verified once, kept in the vault
 * (ofcd/client/lineages.py). What is asked of a relay's key is asked of what `lineageIn` returns.
 */

import { hex } from "../protocol/bytes.ts";
import * as limits from "../protocol/limits.ts";
import * as is from "../protocol/schema.ts";
import { type Lineage, type LineageOf, recalled, type TwoSuccessors } from "../themis/index.ts";
import { codec } from "./saved.ts";
import { type Reader, Turn, type Vault } from "./vault.ts";

const LINEAGES = "lineages";
const statements = is.list(is.bytes(limits.SUCCESSION_BYTES), limits.SUCCESSIONS);
/** `branch`: of the first proof that was met of two successors. */
const kept = codec({ statements, branch: is.optional(statements, []) });

function keptOf(vault: Reader, relayId: Uint8Array): ReturnType<typeof kept.read> {
  const raw = vault.get(LINEAGES, hex(relayId));
  return raw === undefined ? { statements: [], branch: [] } : kept.read(raw);
}

/** What is known of relays' keys. */
export const lineageIn =
  (vault: Reader): LineageOf =>
  (relayId) =>
    recalled(relayId, keptOf(vault, relayId).statements);

/** Keep how a relay came to its key; whether that is news of one that was known. */
export async function keepLineage(vault: Vault, relay: Lineage): Promise<boolean> {
  const isKnown = vault.get(LINEAGES, hex(relay.relayId)) !== undefined;
  const before = keptOf(vault, relay.relayId);
  if (isKnown && relay.statements.length <= before.statements.length) return false;
  await write(vault, relay.relayId, { ...before, statements: relay.statements });
  return isKnown;
}

/** Keep a proof that a relay's key has two successors; whether it is the first one. */
export async function keepDispute(vault: Vault, proof: TwoSuccessors): Promise<boolean> {
  const before = keptOf(vault, proof.relayId);
  if (before.branch.length > 0) return false;
  await write(vault, proof.relayId, { ...before, branch: proof.branch });
  return true;
}

async function write(
  vault: Vault,
  relayId: Uint8Array,
  now: Parameters<typeof kept.write>[0],
): Promise<void> {
  const turn = new Turn(vault);
  turn.put(LINEAGES, hex(relayId), kept.write(now));
  await vault.commit(turn);
}
