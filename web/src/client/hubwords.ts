/** The hub's signed words about a room's log, held against each other and against what is delivered. */

import { checkHead, LogBroken } from "../e2e/log.ts";
import { checkAgreement, headOfHub, type SignedHead } from "../e2e/trust.ts";
import type { View } from "../e2e/view.ts";
import { equal } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { hubAt, isRefusal } from "../protocol/room.ts";
import { had, peek } from "../themis/index.ts";
import type { Link } from "../wire/link.ts";
import type { RoomCore } from "./core.ts";
import { lineageIn } from "./lineages.ts";
import { told, toldOf } from "./told.ts";

type Frame = Extract<RelayFrame, { type: "head" }>;

export class HubWords {
  /** The last one, to compare with the next. */
  private word: SignedHead | undefined;

  constructor(private readonly core: RoomCore) {}

  /**
   * The hub's signed word about the log: what it tells others must be what it told me. It may overtake
   * what it is about.
   */
  hear({ record, key }: Frame): void {
    const { link } = this.core;
    if (link === undefined) return;
    const heard = this.core.enqueue(async () => {
      const { log } = this.core.view;
      const head = this.headIn(link, record, key);
      if (head === undefined) return;
      try {
        checkHead(log, head, record);
        const word = { head, envelope: record };
        if (this.word !== undefined) checkAgreement(this.word, word);
        this.word = word;
      } catch (error) {
        if (!(error instanceof LogBroken)) throw error;
        await this.core.freeze(toldOf(error), error.seq, "", error.evidence);
      }
    });
    void heard.catch((error) => this.core.failed(error)); // the next link says it again
  }

  /** What is no word of the hub's ends the link, unless it may be one that is not known here yet. */
  private headIn(link: Link, record: Uint8Array, key = link.relayKey) {
    const { state, log } = this.core.view;
    const known = lineageIn(this.core.vault);
    const { seq, term } = claimOf(record);
    const { relayId } = hubAt(state, seq);
    // Of a time that is to come here: the room may have gone, and come back to that relay.
    if (seq > log.seq && term > hubAt(state, state.seq).term) return undefined;
    // A relay that passes it on may know of another key of the hub's, or of another hub, before this.
    const isPassedOn = () => !equal(relayId, link.relay.relayId) && !equal(key, link.relayKey);
    if (!had(known(relayId), key) && (seq > log.seq || isPassedOn())) return undefined;
    const head = seq < 0 ? undefined : headOfHub(state, key, record, known);
    if (head === undefined && this.core.link === link) {
      this.core.alarms.raise(told("log.bad_head", Math.max(seq, 0)));
      link.close();
    }
    return head;
  }

  /** The hub's last word, once the log has come to where it is about; unless the room has moved since. */
  belies({ state, log }: View): LogBroken | undefined {
    const { head, envelope } = this.word ?? {};
    if (head === undefined || envelope === undefined || head.seq !== log.seq) return undefined;
    const isOther = hubAt(state, head.seq).term === head.term && !equal(head.log, log.log);
    return isOther ? new LogBroken("fork", head.seq, [envelope]) : undefined;
  }
}

/** Seq and term of a LOG_HEAD; -1 for what is none. */
function claimOf(envelope: Uint8Array): { readonly seq: number; readonly term: number } {
  try {
    const { record } = peek(envelope);
    if (record.type === "log_head") return record;
  } catch (error) {
    if (!isRefusal(error)) throw error;
  }
  return { seq: -1, term: -1 };
}
