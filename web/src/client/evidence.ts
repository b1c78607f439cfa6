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

/** Digits of a hash in hex. */
const HASH = 64;
/** How long the entry may take to come that evidence is about. */
const PATIENCE_MS = 60_000;
/**
 * What an envelope shows, what proves most first: that somebody signed two histories, which froze the
 * room, or root two moves of one term; what is signed, and against the rules, or of a time that root has
 * ended; what anybody can make. As many of each are kept, the first ones, which tell enough: so none keeps
 * out what proves more (ofcd/client/proofs.py).
 */
const PLACES = { proof: 32, offence: 32, junk: 8 };
type Shows = keyof typeof PLACES;
const KINDS = Object.keys(PLACES) as Shows[];
/** What an earlier version kept is as good as an offence. */
const keyOf = (shows: Shows, hash: string) => (shows === "offence" ? hash : `${shows} ${hash}`);
type Frame = Extract<RelayFrame, { type: "evidence" }>;

/** Keep what can not be true; whether any of it is new, as what shows so much. */
export function keepEvidence(
  turn: Turn,
  { evidence }: Tables,
  envelopes: readonly Uint8Array[],
  shows: Shows,
): boolean {
  const kinds = KINDS.slice(0, KINDS.indexOf(shows) + 1);
  const ids = new Set(turn.items(evidence).map(([id]) => id));
  let left = PLACES[shows] - [...ids].filter((id) => keyOf(shows, id.slice(-HASH)) === id).length;
  let isNew = false;
  for (const envelope of envelopes) {
    const hash = hex(sha256(envelope)); // of what is no record, there is no event id
    if (left <= 0 || kinds.some((kind) => ids.has(keyOf(kind, hash)))) continue;
    for (const less of KINDS.map((kind) => keyOf(kind, hash)))
      if (ids.has(less)) turn.delete(evidence, less);
    const id = keyOf(shows, hash);
    turn.put(evidence, id, envelope);
    ids.add(id);
    left -= 1;
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
      else await this.core.freeze(this.words(found), found.seq, found.fault, found.records);
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
