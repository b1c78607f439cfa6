/**
 * Letting people in: the admitter's half of a join, without being asked (ofcd/client/admitting.py).
 *
 * Whoever proves the invite's token is answered at once by the inviter, or after a moment by another
 * admitter. What was answered is kept before it is sent, so the same request gets the same bytes.
 */

import {
  ABANDONED_MS,
  type Answered,
  answerRequest,
  checkConfirm,
  makeAdmit,
} from "../e2e/admitting.ts";
import { BoxRejected } from "../e2e/boxes.ts";
import { makeInviteClose } from "../e2e/controls.ts";
import { KeyMissing } from "../e2e/epochs.ts";
import { openTokenBox } from "../e2e/invites.ts";
import { type JoinFault, JoinRejected } from "../e2e/joining.ts";
import { type Made, makeBoxedRekey, makeRekey } from "../e2e/rekeying.ts";
import type { View } from "../e2e/view.ts";
import { b64decode, b64encode, equal, fromHex, hex } from "../protocol/bytes.ts";
import { Malformed, RETRYABLE } from "../protocol/codes.ts";
import { sha256 } from "../protocol/ids.ts";
import { JOIN_TRIES, OPEN_INVITES } from "../protocol/limits.ts";
import type { ControlRecord, RecordOf } from "../protocol/records.ts";
import { hasRenewed, type Invite, isRefusal } from "../protocol/room.ts";
import { hashOf, peek } from "../themis/index.ts";
import { type Link, LinkLost, RelayRefused } from "../wire/link.ts";
import { warn } from "./alarms.ts";
import type { ControlDesk } from "./controldesk.ts";
import { type Draft, type RoomCore, unlessOver } from "./core.ts";
import { json } from "./saved.ts";
import { type Told, told, toldOf } from "./told.ts";
import type { Turn } from "./vault.ts";

const OTHERS_WAIT_MS = 3_000;
const OTHERS_SPREAD_MS = 4_000;
const LATER_MS = 30_000;
const NO_EPOCH = -1;
/** What no honest joiner's client comes to. */
const ALERTING: ReadonlySet<JoinFault> = new Set([
  "bad_proof",
  "bad_box",
  "bad_signature",
  "invite_used",
]);
const NOBODY_CLOSED_MS = 24 * 3_600_000;
const MOST_ASKED = OPEN_INVITES * JOIN_TRIES;

export class AdmissionDesk {
  private readonly answering = new Set<string>();
  private waiting = 0;
  private readonly confirms = new Map<string, Uint8Array>();

  constructor(
    private readonly core: RoomCore,
    private readonly controls: ControlDesk,
    private readonly names: () => ReadonlyMap<string, string>,
  ) {}

  /** The relay tells again, on the next link, what waits. */
  linkLost(): void {
    this.answering.clear();
    this.confirms.clear();
  }

  /** The relay shows a pending JOIN_REQ. */
  asked(envelope: Uint8Array): void {
    if (peekedRecord(envelope)?.type !== "join_req") return;
    const key = hex(sha256(envelope));
    // More than the open invites of a room allow: no relay of ours.
    if (this.answering.has(key) || this.answering.size >= MOST_ASKED) return;
    this.answering.add(key);
    this.waiting += 1;
    void this.answer(envelope)
      .catch(unlessOver)
      .finally(() => {
        this.waiting -= 1;
      });
  }

  /** Somebody asks in, and waits for an answer from here. */
  get areWaiting(): boolean {
    return this.waiting > 0;
  }

  /** The relay shows a JOIN_CONFIRM: admit, if it is the one for the answer from here. */
  confirmed(envelope: Uint8Array): void {
    const record = peekedRecord(envelope);
    if (record?.type !== "join_conf") return;
    const id = hex(record.invite_id);
    const kept = this.kept(id);
    if (kept === undefined) return;
    if (!equal(record.response_hash, hashOf(peek(kept.response)))) {
      // Either it is for another admitter's answer, or a link or a relay died before the one that was
      // given anew: the relay takes that, or says whose counts.
      const isForIt = equal(record.request_hash, hashOf(peek(kept.request)));
      if (isForIt && !kept.passedOver) this.answerAgain(kept, hex(sha256(envelope)));
      return;
    }
    this.confirms.set(id, envelope);
    const name = `admit ${id}`;
    if (!this.controls.has(name)) {
      void this.controls.run(name, () => this.admit(id)).catch(unlessRefused);
    }
  }

  /** For this confirmation, once a link. */
  private answerAgain(kept: Kept, confirm: string): void {
    if (this.answering.has(confirm) || this.answering.size >= MOST_ASKED) return;
    this.answering.add(confirm);
    void this.answer(kept.request, true).catch(unlessOver);
  }

  /** A control record was applied, in this turn: invites come and go. */
  taken({ turn, view }: Draft, record: ControlRecord): void {
    const { tokens, admits } = this.core.tables;
    if (record.type === "invite_open") this.opened(turn, view, record);
    else if (record.type === "admit" || record.type === "invite_close") {
      const id = hex(record.invite_id);
      turn.delete(tokens, id);
      // Whoever was answered under a closed invite holds a key of a room it is not in: see `review`.
      const isIn = record.type === "admit" && this.isFor(id, record.sign_key);
      if (isIn || !this.core.isOwner) turn.delete(admits, id);
    } else if (record.type === "rekey_boxed") {
      for (const [id] of turn.items(admits)) {
        if (!view.state.invites.has(id)) turn.delete(admits, id);
      }
    } else if (record.type === "hub_move") this.moved(turn);
  }

  /** What is over: expired invites are closed, who never came in is shut out. */
  review(): void {
    if (!this.core.isLive) return;
    const { invites } = this.core.view.state;
    const now = Date.now();
    for (const [id, invite] of invites) {
      if (this.isAbandoned(id, now)) this.warn(told("join_abandoned"));
      if (this.isToClose(id, invite, now)) this.close(id);
    }
    const isOut = this.core.vault.items(this.core.tables.admits).some(([id]) => !invites.has(id));
    if (isOut && this.core.isOwner && !this.controls.has("shut out")) {
      void this.controls.run("shut out", () => this.shutOut()).catch(unlessRefused);
    }
  }

  /** Cancel an invite. */
  closeInvite(id: string): Promise<void> {
    return this.controls.run(`close ${id}`, () => {
      if (!this.core.view.state.invites.has(id)) return undefined;
      const answered = this.kept(id) !== undefined;
      return made(makeInviteClose(this.controls.making, fromHex(id), answered));
    });
  }

  keepToken(turn: Turn, id: string, token: Uint8Array): void {
    turn.put(this.core.tables.tokens, id, token);
  }

  private close(id: string): void {
    if (!this.controls.has(`close ${id}`)) void this.closeInvite(id).catch(unlessRefused);
  }

  private isToClose(id: string, invite: Invite, now: number): boolean {
    if (this.isAbandoned(id, now)) return true;
    if (hex(invite.inviter) === this.core.me) return invite.expires <= now;
    if (!this.core.isOwner) return false;
    const isGone = !this.core.view.state.members.has(hex(invite.inviter));
    return invite.expires + (isGone ? 0 : NOBODY_CLOSED_MS) <= now;
  }

  /** Somebody was given the room's key under it, and never came in. */
  private isAbandoned(id: string, now: number): boolean {
    const kept = this.kept(id);
    return kept !== undefined && now - kept.answeredAt >= ABANDONED_MS;
  }

  /** All invites ended with the move of the room; one that is still to be opened is no such. */
  private moved(turn: Turn): void {
    const { tokens, admits } = this.core.tables;
    for (const [id] of turn.items(tokens)) {
      if (!this.controls.has(`open ${id}`)) turn.delete(tokens, id);
    }
    if (this.core.isOwner) return; // who was answered is to be shut out: see `review`
    for (const [id] of turn.items(admits)) turn.delete(admits, id);
  }

  private opened(turn: Turn, { state, mine }: View, record: RecordOf<"invite_open">): void {
    if (!record.token_boxes.some(([mid]) => equal(mid, mine.mid))) return;
    try {
      this.keepToken(turn, hex(record.invite_id), openTokenBox(state, mine, record));
    } catch (error) {
      if (!(error instanceof BoxRejected) && !isRefusal(error)) throw error; // others can answer it
    }
  }

  /** `isAnew`: its answer was overtaken by a renewal of the key, and that one is enough. */
  private async answer(envelope: Uint8Array, isAnew = false): Promise<void> {
    const request = peekedRecord(envelope);
    if (request?.type !== "join_req") return;
    const id = hex(request.invite_id);
    const invite = this.core.view.state.invites.get(id);
    if (invite === undefined) return;
    if (hex(invite.inviter) !== this.core.me) {
      await this.core.pause(OTHERS_WAIT_MS + OTHERS_SPREAD_MS * Math.random());
    }
    const link = await this.core.whenLive();
    const asked = isAnew ? NO_EPOCH : this.core.view.state.epoch;
    // On the next link the relay tells again what waits.
    while (this.core.link === link) {
      await this.renewFirst(link, asked);
      await this.core.until(() => this.holdsKey || this.core.link !== link);
      const answered = await this.prepare(id, envelope);
      if (answered === undefined || this.core.link !== link) return;
      try {
        const { room } = this.core.view.state;
        await link.ask({ type: "join_answer", room, record: answered.response });
        return;
      } catch (error) {
        if (error instanceof LinkLost) return;
        if (!(error instanceof RelayRefused)) throw error;
        if (error.code === "invite_used" || error.code === "invite_unknown") {
          await this.passOver(id, answered);
          return;
        }
        if (!RETRYABLE.has(error.code) && error.code !== "internal") return;
        await this.core.pause(Math.max(LATER_MS, error.wait));
      }
    }
  }

  private get holdsKey(): boolean {
    const { keys, state } = this.core.view;
    return keys.keys.has(state.epoch);
  }

  /** The relay says that another admitter was faster. If that is a lie, a stranger has the key. */
  private passOver(id: string, { response }: Answered): Promise<void> {
    return this.core.change(({ turn }) => {
      const kept = this.kept(id);
      if (kept === undefined || !equal(kept.response, response)) return;
      turn.put(this.core.tables.admits, id, json.write(packed({ ...kept, passedOver: true })));
    });
  }

  /** Whether what was answered under an invite was for the joiner with this key, if anything. */
  private isFor(id: string, signKey: Uint8Array): boolean {
    const kept = this.kept(id);
    if (kept === undefined) return true;
    const { record } = peek(kept.request);
    return record.type === "join_req" && equal(record.sign_key, signKey);
  }

  /**
   * Where the room's policy says so, a newcomer gets a key without a past: one renewal since it asked
   * is enough. An owner makes it; whoever else may admit waits until one has.
   */
  private async renewFirst(link: Link, asked: number): Promise<void> {
    const { core } = this;
    const isDue = () => {
      const { state, log } = core.view;
      return state.policy.join_rekey && state.epoch === asked && log.seq > state.epochSeq;
    };
    while (isDue() && core.link === link) {
      if (core.isOwner && !this.controls.has("rekey")) {
        const make = () => (isDue() ? makeRekey(this.controls.making, core.view.keys) : undefined);
        await this.controls.run("rekey", make).catch(unlessRefused);
      }
      await core.until(() => !isDue() || core.link !== link, LATER_MS);
    }
  }

  /** The answer, kept; undefined if none is to be given. */
  private async prepare(id: string, envelope: Uint8Array): Promise<Answered | undefined> {
    const token = this.core.vault.get(this.core.tables.tokens, id);
    if (token === undefined) return undefined; // an invite that this client has no part in
    let answered: Answered | undefined;
    await this.core.change(({ turn }) => {
      try {
        const telling = { names: this.names(), roomName: this.core.saved.name };
        const { making } = this.controls;
        const { keys } = this.core.view;
        answered = answerRequest(making, keys, envelope, token, telling, this.kept(id));
        turn.put(this.core.tables.admits, id, json.write(packed(answered)));
      } catch (error) {
        if (error instanceof JoinRejected) this.sound(error);
        else if (!(error instanceof KeyMissing)) throw error;
      }
    });
    return answered;
  }

  private admit(id: string): Made | undefined {
    const [kept, envelope] = [this.kept(id), this.confirms.get(id)];
    const { state, keys } = this.core.view;
    if (kept === undefined || envelope === undefined || !state.invites.has(id)) return undefined;
    try {
      const confirm = checkConfirm(state, keys, kept, envelope);
      return made(makeAdmit(this.controls.making, kept, confirm));
    } catch (error) {
      if (!(error instanceof JoinRejected)) throw error;
      if (error.fault === "epoch_moved") void this.answer(kept.request, true).catch(unlessOver);
      else this.sound(error);
      return undefined;
    }
  }

  /** Somebody may be attacking: an owner should hear of it. */
  private sound(error: JoinRejected): void {
    if (!ALERTING.has(error.fault)) return;
    // Who renewed its key may be shown a box for one that is forgotten: no reason for an alarm.
    const me = this.core.myself;
    if (error.fault === "bad_box" && me !== undefined && hasRenewed(me)) return;
    this.warn(toldOf(error));
  }

  private warn(alarm: Told): void {
    void this.core.change((draft) => warn(draft, alarm)).catch(unlessOver);
  }

  private shutOut(): Made | undefined {
    const { invites } = this.core.view.state;
    const isOut = this.core.vault.items(this.core.tables.admits).some(([id]) => !invites.has(id));
    return isOut ? makeBoxedRekey(this.controls.making, [], "abandoned join") : undefined;
  }

  private kept(id: string): Kept | undefined {
    const raw = this.core.vault.get(this.core.tables.admits, id);
    return raw === undefined ? undefined : unpacked(json.read(raw));
  }
}

const made = (signed: Made["signed"]): Made => ({ signed, boxes: [] });

interface Kept extends Answered {
  /** The relay refused it: another admitter's answer was there first, it says. */
  readonly passedOver?: boolean;
}

interface Packed {
  readonly passedOver?: boolean;
  readonly request: string;
  readonly response: string;
  readonly epoch: number;
  readonly answeredAt: number;
}

const packed = (answered: Kept): Packed => ({
  ...answered,
  request: b64encode(answered.request),
  response: b64encode(answered.response),
});

const unpacked = (raw: Packed): Kept => ({
  ...raw,
  request: b64decode(raw.request),
  response: b64decode(raw.response),
});

function peekedRecord(envelope: Uint8Array) {
  try {
    return peek(envelope).record;
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

/** For what a client does by itself: a refusal only means that another did it, or may not be. */
export function unlessRefused(error: unknown): void {
  if (isRefusal(error) || error instanceof RelayRefused) return;
  unlessOver(error);
}
