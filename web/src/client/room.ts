/**
 * One room of this browser: attached on a link, followed entry by entry, spoken into, and looked
 * after where its member is an owner.
 *
 * Whatever comes is taken into the vault before it is shown, and whatever is said is there before it
 * is sent: a reload, a phone's sleep or a crash loses neither.
 */

import type { FileRef } from "../e2e/attachments.ts";
import type { Body, Content } from "../e2e/bodies.ts";
import { applyVerified } from "../e2e/chain.ts";
import { acceptHandover, makeAttach, makeGrant, makeHandover, makeLeave } from "../e2e/controls.ts";
import { KeyMissing } from "../e2e/epochs.ts";
import { Unreadable } from "../e2e/events.ts";
import { inviteLink, makeInvite } from "../e2e/invites.ts";
import { checkAdmitted, JoinRejected } from "../e2e/joining.ts";
import { resumedLog } from "../e2e/log.ts";
import { makeBoxedRekey } from "../e2e/rekeying.ts";
import { openSignal, sealSignal } from "../e2e/signals.ts";
import { equal, fromHex, hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import type { ControlRecord, Role } from "../protocol/records.ts";
import { isOwner, isRefusal, type Member } from "../protocol/room.ts";
import { openSigned } from "../themis/index.ts";
import { type Link, RelayRefused, unlessLost } from "../wire/link.ts";
import { AdmissionDesk } from "./admissions.ts";
import { chainOfRoom } from "./chainpages.ts";
import { ControlDesk } from "./controldesk.ts";
import { amend, type Draft, mark, RoomCore, unlessOver } from "./core.ts";
import { Duties } from "./duties.ts";
import { download, type FileLike, type Sending, upload } from "./files.ts";
import { Ledger } from "./ledger.ts";
import { RoomView } from "./roomview.ts";
import { json } from "./saved.ts";
import type { Vault } from "./vault.ts";

const REVIEW_MS = 60_000;
const TYPING_MS = 6_000;
const PROBE_MS = 5_000;

type FrameOf<T extends RelayFrame["type"]> = Extract<RelayFrame, { type: T }>;

export class Room extends RoomView {
  private readonly controls: ControlDesk;
  private readonly admissions: AdmissionDesk;
  private readonly duties: Duties;
  private readonly ledger: Ledger;

  /** `changed` is called after every change that a person could see. */
  constructor(vault: Vault, id: string, changed: () => void) {
    super(new RoomCore(vault, id, changed));
    this.controls = new ControlDesk(this.core);
    this.duties = new Duties(this.core, this.controls);
    this.admissions = new AdmissionDesk(this.core, this.controls, () => this.names());
    this.ledger = new Ledger(this.core, {
      control: (draft, record) => this.controlTaken(draft, record),
      event: ({ turn }, sid) => this.outbox.arrived(turn, sid),
      heard: (draft, body) => this.heard(draft, body),
      taken: () => this.goOn(),
    });
    this.reviewLater();
  }

  /** What an owner should hear of; "" nothing. */
  get alarm(): string {
    return this.admissions.alarm;
  }

  // -- what a person does ----------------------------------------------------------------------

  /** Queue something to be said; settled once it is safely in the vault. */
  send(content: Content): Promise<void> {
    return this.outbox.send(content);
  }

  /** Take back what was refused, or has not been sent. */
  discard(id: string): Promise<void> {
    return this.outbox.discard(id);
  }

  /** Store a file at the relay, sealed, and tell of it. */
  async sendFile(file: FileLike, sending: Sending = {}): Promise<void> {
    await this.outbox.send(await upload(this.core, file, sending));
  }

  /** The pieces of a file, checked. */
  fetchFile(ref: FileRef, options: Pick<Sending, "onProgress" | "signal"> = {}) {
    return download(this.core, ref, options);
  }

  async markRead(seq: number): Promise<void> {
    if (seq <= this.saved.readUpTo) return;
    await this.core.change((draft) => amend(draft, { readUpTo: seq }));
  }

  /** Tell the others that one is typing, or no longer. */
  signal(kind: "typing" | "stopped"): void {
    const { link, isLive, view } = this.core;
    const { state, keys, mine } = view;
    if (!isLive || !keys.keys.has(state.epoch) || !this.mayPost) return;
    const cell = sealSignal(state.room, state.epoch, keys, mine.mid, { kind, ts: Date.now() });
    link?.tell({ type: "signal", room: state.room, epoch: state.epoch, cell });
  }

  /** A person has compared this safety number with that member; "" takes it back. */
  setVerified(mid: string, number: string): Promise<void> {
    const { verified } = this.core.tables;
    return this.core.change(({ turn }) => {
      if (number === "") turn.delete(verified, mid);
      else turn.put(verified, mid, json.write(number));
    });
  }

  // -- what changes the room: each settles once it is in the log --------------------------------

  /** A link by which one person can join, once, until `expires`. */
  async invite(options: {
    expires: number;
    role?: Exclude<Role, "root">;
    caps?: readonly string[];
  }): Promise<string> {
    const { code } = makeInvite(this.controls.making, this.url, options);
    const [id, link] = [hex(code.inviteId), inviteLink(code)];
    await this.core.change(({ turn }) => {
      this.admissions.keepToken(turn, id, code.token);
      turn.put(this.core.tables.links, id, json.write(link));
    });
    await this.controls.run(`open ${id}`, () => {
      const { signed } = makeInvite(this.controls.making, this.url, { ...options, ...code });
      return { signed, boxes: [] };
    });
    return link;
  }

  closeInvite(id: string): Promise<void> {
    return this.admissions.closeInvite(id);
  }

  /** Renew the room's key now. */
  rotate(): Promise<void> {
    const { epoch } = this.state;
    const make = () => (this.epoch === epoch ? this.duties.makeRekey() : undefined);
    return this.controls.run("rekey", make);
  }

  /** Remove a member, with a new key for who stays. */
  evict(mid: string): Promise<void> {
    return this.controls.run(`evict ${mid}`, () =>
      this.state.members.has(mid)
        ? makeBoxedRekey(this.controls.making, [fromHex(mid)])
        : undefined,
    );
  }

  /** Make somebody a co-owner, a member, or a reader; what they may do beside that stays. */
  grant(mid: string, role: Exclude<Role, "root">): Promise<void> {
    const make = () => {
      const member = this.state.members.get(mid);
      if (member === undefined || member.role === role) return undefined;
      const signed = makeGrant(this.controls.making, member.mid, role, member.caps);
      return { signed, boxes: [] };
    };
    return this.controls.run(`grant ${mid}`, make);
  }

  async leave(): Promise<void> {
    await this.controls.run("leave", () => ({
      signed: makeLeave(this.controls.making),
      boxes: [],
    }));
    await this.core.change((draft) => amend(draft, { status: "removed", reason: "left" }));
  }

  /** Ask a member to become root; once they accept, the room is theirs. */
  async offerHandover(mid: string): Promise<void> {
    await this.core.change((draft) => {
      mark(draft, { offeredTo: mid });
      this.outbox.put(draft.turn, { type: "handover_offer", to: fromHex(mid) });
    });
    this.outbox.pump();
  }

  /** Take the room over from root, who offered it. */
  async acceptHandover(): Promise<void> {
    const accept = acceptHandover(this.controls.making).envelope;
    await this.core.change((draft) => {
      mark(draft, { offeredBy: "" });
      this.outbox.put(draft.turn, { type: "handover_accept", accept });
    });
    this.outbox.pump();
  }

  // -- on a link -------------------------------------------------------------------------------

  /** Attach, catch up, and follow from then on; rejects with `LinkLost`. */
  async attach(link: Link, transportKey: Uint8Array): Promise<void> {
    if (this.saved.status !== "active") return;
    this.core.link = link;
    const { mine, state } = this.core.view;
    const { challenge } = link.welcome;
    const proof = makeAttach(state.room, mine, { transportKey, relayId: this.relayId, challenge });
    this.refusal = "";
    try {
      await this.create(link);
      await link.ask({ type: "attach", record: proof.envelope });
      await this.sync(link);
    } catch (error) {
      if (!(error instanceof RelayRefused)) throw error;
      await this.refused(error);
    }
  }

  /** Is anybody still there? A link that died while the device slept shows it only when asked. */
  probe(): void {
    const { room, seq } = this.state;
    const request = { type: "chain_get", room, start: seq + 1 } as const;
    void this.core.link?.ask(request, PROBE_MS).catch((error: unknown) => {
      if (!(error instanceof RelayRefused)) unlessLost(error);
    });
  }

  detach(): void {
    this.core.link = undefined;
    for (const part of [this.outbox, this.ledger, this.admissions, this.duties]) part.linkLost();
    this.core.isLive = false;
  }

  /** Nothing goes on here any more: the vault is about to be locked. */
  close(): void {
    this.core.close();
  }

  /** A founder's room, until the relay has its GENESIS. */
  private async create(link: Link): Promise<void> {
    const { genesis, createToken: token } = this.saved;
    if (genesis === undefined) return;
    try {
      await link.ask({ type: "create", record: genesis, token });
    } catch (error) {
      const isFinal = error instanceof RelayRefused && error.failure.retry_after === undefined;
      if (isFinal) {
        const reason = error.message;
        await this.core.change((draft) => amend(draft, { status: "removed", reason }));
      }
      throw error;
    }
    await this.core.change((draft) => amend(draft, { genesis: undefined, createToken: "" }));
  }

  private async sync(link: Link): Promise<void> {
    const { seq, log } = this.core.view.log;
    const { room } = this.state;
    // Deliveries may come before `synced` is looked at: they wait in the queue behind this.
    const answered = link.ask({ type: "sync", room, start: seq + 1, log });
    let head = seq;
    const caughtUp = this.core.enqueue(async () => {
      const synced = (await answered) as FrameOf<"synced">;
      head = synced.head;
      if (Math.max(synced.start, synced.floor) > seq + 1) await this.skip(link, synced);
    });
    await answered;
    await caughtUp;
    // What an owner does, it does for the room as it is now.
    await this.core.until(() => this.lastSeq >= head || this.core.link !== link).catch(unlessOver);
    if (this.core.link !== link) return;
    this.core.isLive = true;
    await this.announce();
    this.goOn();
    this.admissions.review();
  }

  /** The relay no longer keeps what was missed: the control log tells who is here, the rest is gone. */
  private async skip(link: Link, { start, floor, log }: FrameOf<"synced">): Promise<void> {
    const from = Math.max(start, floor);
    const { room } = this.state;
    const missed = await chainOfRoom(link, room, this.state.seq + 1);
    const senders = new Map(
      [...this.core.view.senders].map(([mid, head]) => [mid, { ...head, certain: false }]),
    );
    try {
      await this.core.commit((draft) => {
        draft.view = { ...draft.view, senders, log: resumedLog(room, from - 1, log) };
        for (const [seq, envelope] of missed) {
          if (seq < from) this.applyMissed(draft, seq, envelope);
        }
        const { state, mine } = draft.view;
        if (state.members.has(hex(mine.mid))) checkAdmitted(state, mine);
      });
    } catch (error) {
      if (!(isRefusal(error) || error instanceof JoinRejected)) throw error;
      await this.core.freeze(error.message);
    }
  }

  /** It goes on from the state held: what is known can not be unsaid by what a relay leaves out. */
  private applyMissed(draft: Draft, seq: number, envelope: Uint8Array): void {
    const { state, signed } = applyVerified(draft.view.state, envelope, seq);
    draft.view = { ...draft.view, state };
    this.controlTaken(draft, signed.record);
  }

  /** Tell the others what one wants to be called, once. */
  private async announce(): Promise<void> {
    const name = this.saved.myName;
    if (this.core.marks.announced || name === "" || !this.mayPost) return;
    await this.core.change((draft) => {
      mark(draft, { announced: true });
      this.outbox.put(draft.turn, { type: "profile", name });
    });
  }

  private goOn(): void {
    this.outbox.pump();
    this.duties.check();
  }

  private reviewLater(): void {
    this.core.later(() => {
      this.admissions.review();
      this.duties.check();
      this.reviewLater();
    }, REVIEW_MS);
  }

  /** A frame of this room that nobody asked for. */
  receive(frame: RelayFrame): void {
    if (frame.type === "box") this.ledger.takeBox(frame);
    else if (frame.type === "delivery") this.ledger.deliver(frame);
    else if (frame.type === "head") this.ledger.hear(frame);
    else if (frame.type === "removed") void this.core.enqueue(() => this.removed(frame));
    else if (frame.type === "join_asked") this.admissions.asked(frame.record);
    else if (frame.type === "join_confirmed") this.admissions.confirmed(frame.record);
    else if (frame.type === "key_asked") this.duties.asked(frame.record);
    else if (frame.type === "key_answered") {
      void this.duties.answered(frame.record, frame.box).then(() => this.outbox.pump());
    } else if (frame.type === "signalled") this.signalled(frame);
  }

  private controlTaken(draft: Draft, record: ControlRecord): void {
    this.admissions.taken(draft, record);
    if (record.type === "handover") mark(draft, { offeredTo: "", offeredBy: "" });
  }

  private heard(draft: Draft, { mid, content }: Body): void {
    this.typing.delete(hex(mid));
    if (content.type === "handover_offer" && equal(mid, draft.view.state.root)) {
      mark(draft, { offeredBy: hex(content.to) === this.me ? hex(mid) : "" });
    }
    if (content.type !== "handover_accept" || hex(mid) !== draft.marks.offeredTo) return;
    mark(draft, { offeredTo: "" });
    const make = () => ({
      signed: makeHandover(this.controls.making, mid, content.accept),
      boxes: [],
    });
    void this.controls.run("handover", make).catch(unlessOver);
  }

  private signalled({ mid, epoch, cell }: FrameOf<"signalled">): void {
    const id = hex(mid);
    if (id === this.me || !this.state.members.has(id)) return;
    try {
      const { room } = this.state;
      const { kind } = openSignal(room, epoch, this.core.view.keys, mid, cell, Date.now());
      if (kind === "typing") this.typing.set(id, Date.now() + TYPING_MS);
      else if (kind === "stopped") this.typing.delete(id);
    } catch (error) {
      // A hint that can not be read is no hint.
      if (!(error instanceof Unreadable || error instanceof KeyMissing)) throw error;
    }
    this.core.changed();
    this.core.later(() => this.core.changed(), TYPING_MS + 1);
  }

  /** The relay says we are out; believed for good only with the record that says so. */
  private async removed({ record, code }: FrameOf<"removed">): Promise<void> {
    if (this.isProof(record)) {
      await this.core.commit((draft) => amend(draft, { status: "removed", reason: code }));
    }
    this.core.isLive = false;
  }

  private isProof(envelope: Uint8Array): boolean {
    try {
      for (const member of this.state.members.values()) {
        const record = signedBy(member, envelope);
        if (record?.type === "leave") return hex(record.mid) === this.me;
        if (record?.type === "rekey_boxed") {
          return isOwner(member) && record.removed.some((mid) => hex(mid) === this.me);
        }
      }
    } catch {
      // no record at all
    }
    return false;
  }

  private async refused({ code, message }: RelayRefused): Promise<void> {
    if (code === "fork" || code === "hub_behind") {
      await this.core.enqueue(() => this.core.freeze(message));
    }
    this.refusal = message; // the relay's word alone: the next link asks again
    this.core.isLive = false;
  }
}

function signedBy(member: Member, envelope: Uint8Array) {
  try {
    const { record } = openSigned(member.signKey, envelope);
    return "mid" in record && equal(record.mid, member.mid) ? record : undefined;
  } catch {
    return undefined;
  }
}
