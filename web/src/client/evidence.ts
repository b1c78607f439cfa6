/**
 * What one's relay shows against a room's own relay: judged here, before anything follows from it. A
 * room is frozen by what is proven; what proves nothing is told to its person, once a link.
 */

import { controlsOf, judge, type Proof } from "../e2e/evidence.ts";
import { hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { sha256 } from "../protocol/ids.ts";
import type { RoomCore } from "./core.ts";
import { placesOf } from "./journal.ts";
import { lineageIn } from "./lineages.ts";
import type { Tables } from "./tables.ts";
import { type Told, told } from "./told.ts";
import type { Turn } from "./vault.ts";

/** How long the entry may take to come that evidence is about. */
const PATIENCE_MS = 60_000;
/** As many are kept: the first ones, which tell enough. */
const KEPT = 64;
type Frame = Extract<RelayFrame, { type: "evidence" }>;

/** Keep what somebody signed and can not be true; whether any of it is new. */
export function keepEvidence(
  turn: Turn,
  { evidence }: Tables,
  envelopes: readonly Uint8Array[],
): boolean {
  let isNew = false;
  for (const envelope of envelopes) {
    const id = hex(sha256(envelope)); // of what is no record, there is no event id
    if (turn.get(evidence, id) !== undefined || turn.items(evidence).length >= KEPT) continue;
    turn.put(evidence, id, envelope);
    isNew = true;
  }
  return isNew;
}

export class EvidenceDesk {
  private waiting: { readonly frame: Frame; readonly seq: number } | undefined;

  constructor(
    private readonly core: RoomCore,
    private readonly nameOf: (mid: string) => string,
  ) {}

  /** The next link shows it again, if it is any. */
  linkLost(): void {
    this.waiting = undefined;
  }

  /** The relay shows this, and says whose key it is. */
  shown(frame: Frame): void {
    const { link } = this.core;
    if (link === undefined) return;
    const judged = this.core.enqueue(async () => {
      const { view, saved } = this.core;
      if (saved.status === "frozen") return;
      const isMoved = view.state.moved.length > 0; // else nothing is void
      const places = isMoved
        ? await placesOf(this.core, controlsOf(frame.records))
        : new Map<string, number>();
      const key = frame.key ?? link.relayKey;
      const known = lineageIn(this.core.vault);
      const found = judge(view.state, view.log, key, frame.records, known, (it) => places.get(it));
      const isFirst = this.waiting?.frame !== frame;
      this.waiting = typeof found === "number" ? { frame, seq: found } : undefined;
      if (typeof found === "number") {
        if (isFirst) this.core.later(() => this.giveUp(frame), PATIENCE_MS);
      } else if (found === undefined) this.reject();
      else await this.core.freeze(this.words(found), found.seq, found.fault, frame.records);
    });
    void judged.catch((error) => this.core.failed(error)); // the next link shows it again
  }

  /** Judge again what waits, once its entry is here; to be called after whatever came. */
  check(): void {
    const { waiting } = this;
    if (waiting !== undefined && this.core.view.log.seq >= waiting.seq) this.shown(waiting.frame);
  }

  private giveUp(frame: Frame): void {
    if (this.waiting?.frame !== frame) return;
    this.waiting = undefined;
    this.reject();
  }

  private reject(): void {
    this.core.alarms.raise(told("unproven"));
  }

  private words({ fault, seq, witness }: Proof): Told {
    if (fault === "equivocation") return told("two_logs", seq);
    if (witness === "") return told("hub_word", seq);
    return told("member_word", `${seq} ${this.nameOf(witness) || witness.slice(0, 8)}`);
  }
}
