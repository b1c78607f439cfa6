/**
 * How this browser's relays came to the keys they have: verified once, kept in the vault
 * (ofcd/client/lineages.py). What is asked of a relay's key is asked of what `lineageIn` returns.
 */

import { hex } from "../protocol/bytes.ts";
import * as limits from "../protocol/limits.ts";
import * as is from "../protocol/schema.ts";
import { type Lineage, type LineageOf, recalled, type TwoSuccessors } from "../themis/index.ts";
import { codec } from "./saved.ts";
import { type Reader, Turn, type Vault, VaultError } from "./vault.ts";

const LINEAGES = "lineages";
const statements = is.list(is.bytes(limits.SUCCESSION_BYTES), limits.SUCCESSIONS);
const kept = codec({
  statements,
  /** Of the first proof that was met of two successors. */
  branch: is.optional(statements, []),
  /** Whether its person has still to read that it has another key, and has read of the two. */
  isNew: is.optional(is.bool, false),
  isBranchRead: is.optional(is.bool, false),
});
type Kept = ReturnType<typeof kept.read>;

const NOTHING: Kept = { statements: [], branch: [], isNew: false, isBranchRead: false };

function keptOf(vault: Reader, relayId: Uint8Array): Kept {
  const raw = vault.get(LINEAGES, hex(relayId));
  return raw === undefined ? NOTHING : kept.read(raw);
}

/** What is known of relays' keys. */
export const lineageIn =
  (vault: Reader): LineageOf =>
  (relayId) =>
    recalled(relayId, keptOf(vault, relayId).statements);

/** What a person has still to read of a relay's keys. */
export function unreadOf(vault: Reader, relayId: Uint8Array) {
  const { branch, isNew, isBranchRead } = keptOf(vault, relayId);
  return { isNew, isDisputed: branch.length > 0 && !isBranchRead };
}

/** Who writes them, and nobody else: one after the other, each upon what the one before has kept. */
export class Lineages {
  private queue: Promise<unknown> = Promise.resolve();

  constructor(private readonly vault: Vault) {}

  /**
   * Keep what `act` makes of what is known by then; rejects as that throws. Where it is more, and
   * `isKnown` then says that its people know the relay, they have it to read. Whether it is more.
   */
  grow(
    relayId: Uint8Array,
    act: (known: Lineage) => Lineage,
    isKnown: () => boolean,
  ): Promise<boolean> {
    return this.change(relayId, (before) => {
      const known = recalled(relayId, before.statements);
      const grown = act(known);
      if (grown.statements.length <= known.statements.length) return before;
      return { ...before, statements: grown.statements, isNew: before.isNew || isKnown() };
    });
  }

  /** Keep a proof that a relay's key has two successors; whether it is the first one. */
  dispute({ relayId, branch }: TwoSuccessors): Promise<boolean> {
    return this.change(relayId, (before) =>
      before.branch.length > 0 ? before : { ...before, branch },
    );
  }

  /** Its person has read of its new key, or of the two. */
  read(relayId: Uint8Array, what: Partial<Pick<Kept, "isNew" | "isBranchRead">>): Promise<boolean> {
    return this.change(relayId, (before) => ({ ...before, ...what }));
  }

  private change(relayId: Uint8Array, act: (before: Kept) => Kept): Promise<boolean> {
    const done = this.queue.then(() => this.write(relayId, act));
    this.queue = done.catch(() => undefined);
    return done;
  }

  /** A vault that is full or locked keeps nothing new: it is learnt again on the next link. */
  private async write(relayId: Uint8Array, act: (before: Kept) => Kept): Promise<boolean> {
    const before = keptOf(this.vault, relayId);
    const now = act(before);
    if (now === before) return false;
    const turn = new Turn(this.vault);
    turn.put(LINEAGES, hex(relayId), kept.write(now));
    try {
      await this.vault.commit(turn);
      return true;
    } catch (error) {
      if (!(error instanceof VaultError)) throw error;
      return false;
    }
  }
}
