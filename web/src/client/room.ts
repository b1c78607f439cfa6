/**
 * One room of this browser: attached on a link, followed entry by entry, spoken into, and looked
 * after where its member is an owner.
 *
 * Whatever comes is taken into the vault before it is shown, and whatever is said is there before it
 * is sent: a reload, a phone's sleep or a crash loses neither.
 */

import type { FileRef } from "../e2e/attachments.ts";
import type { Content } from "../e2e/bodies.ts";
import { makeGrant } from "../e2e/controls.ts";
import { KeyMissing } from "../e2e/epochs.ts";
import { type Opened, Unreadable } from "../e2e/events.ts";
import { makeInvite } from "../e2e/invites.ts";
import { turnedTo } from "../e2e/keys.ts";
import { type Seen, seenOf } from "../e2e/log.ts";
import { makeBoxedRekey } from "../e2e/rekeying.ts";
import { openSignal } from "../e2e/signals.ts";
import { fromHex, hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import type { ControlRecord, Role } from "../protocol/records.ts";
import type { Link } from "../wire/link.ts";
import { AdmissionDesk } from "./admissions.ts";
import { Attaching } from "./attaching.ts";
import { BeatDuty } from "./beats.ts";
import { BlobDrops } from "./blobdrops.ts";
import type { Outcome } from "./comparing.ts";
import { ControlDesk } from "./controldesk.ts";
import { amend, type Draft, mark, RoomCore, type RoomListeners, unlessOver } from "./core.ts";
import { Duties } from "./duties.ts";
import { EvidenceDesk } from "./evidence.ts";
import { download, type Fetching, type FileLike } from "./files.ts";
import { ForceDesk } from "./forcedesk.ts";
import { ForcedMoves } from "./forcedmoves.ts";
import { endVisit, forceHub, type Survey, surveyHub, tryAt } from "./forcing.ts";
import { Handover } from "./handover.ts";
import { Homes } from "./homes.ts";
import { completeChain } from "./journal.ts";
import { COPY_BEHIND } from "./lagging.ts";
import { Leaving } from "./leaving.ts";
import { Ledger } from "./ledger.ts";
import type { Place } from "./moving.ts";
import { Receipts } from "./receipts.ts";
import { RenewDuty } from "./renewing.ts";
import { RoomView } from "./roomview.ts";
import { json } from "./saved.ts";
import type { TypingKind } from "./typing.ts";
import { type Sending, type UploadInfo, Uploads } from "./uploads.ts";
import type { Vault } from "./vault.ts";

const REVIEW_MS = 60_000;

type FrameOf<T extends RelayFrame["type"]> = Extract<RelayFrame, { type: T }>;

export class Room extends RoomView {
  private readonly controls: ControlDesk;
  private readonly admissions: AdmissionDesk;
  private readonly duties: Duties;
  private readonly homes: Homes;
  private readonly forced: ForcedMoves;
  private readonly forcing: ForceDesk;
  private readonly renewing: RenewDuty;
  private readonly ledger: Ledger;
  private readonly beats: BeatDuty;
  private readonly drops: BlobDrops;
  private readonly receipts: Receipts;
  private readonly evidence: EvidenceDesk;
  private readonly uploading: Uploads;
  private readonly leaving: Leaving;
  private readonly handover: Handover;
  private readonly attaching: Attaching;

  /** `changed` is called after every change that a person could see. */
  constructor(
    vault: Vault,
    id: string,
    changed: () => void,
    listeners: Partial<RoomListeners> = {},
  ) {
    super(new RoomCore(vault, id, changed));
    this.core.listeners = listeners;
    this.controls = new ControlDesk(this.core);
    this.homes = new Homes(this.core, this.controls);
    this.duties = new Duties(this.core, this.controls, (draft) => this.ledger.release(draft));
    this.receipts = new Receipts(this.core);
    this.evidence = new EvidenceDesk(this.core, (mid) => this.nameOf(mid));
    this.admissions = new AdmissionDesk(this.core, this.controls, () => this.names());
    this.renewing = new RenewDuty(this.core, this.controls, () => this.admissions.areWaiting);
    this.ledger = new Ledger(this.core, {
      control: (draft, record) => this.controlTaken(draft, record),
      event: ({ turn }, { mid, sid }) => {
        // Another member may use this one's sid, and would take its words out of the outbox.
        if (hex(mid) === this.me) this.outbox.arrived(turn, sid);
      },
      heard: (draft, seq, opened) => this.heard(draft, seq, opened),
      taken: () => this.goOn(),
    });
    const lost = () => {
      for (const part of this.parts) part.linkLost();
    };
    const uploads = () => this.uploading;
    this.forced = new ForcedMoves(this.core, this.outbox, this.comparing, uploads, lost);
    this.forcing = new ForceDesk(this.core, (record) => this.forced.told([record]));
    this.beats = new BeatDuty(this.core, this.outbox);
    this.drops = new BlobDrops(this.core);
    this.uploading = new Uploads(this.core, this.outbox, () => this.drops.check());
    this.leaving = new Leaving(this.core, this.controls, this.outbox, this.uploading, (code) =>
      this.attaching.unproven(code),
    );
    this.handover = new Handover(this.core, this.controls, this.outbox);
    const { forced, homes, ledger, outbox } = this;
    this.attaching = new Attaching(
      this.core,
      { forced, homes, ledger, outbox },
      {
        control: (draft, record) => this.controlTaken(draft, record),
        caughtUp: (link) => this.caughtUp(link),
        behind: () => this.forcing.goOn(),
        lost,
      },
    );
    this.reviewLater();
  }

  // -- what a person does ----------------------------------------------------------------------

  /** Queue something to be said; settled once it is safely in the vault. */
  send(content: Content): Promise<void> {
    return this.outbox.send(content);
  }

  /** Take back what was refused, or has not been sent. */
  async discard(id: string): Promise<void> {
    await this.outbox.discard(id);
    this.drops.check();
  }

  /** Say anew what was refused. */
  retry(id: string): Promise<void> {
    return this.outbox.retry(id);
  }

  /** Store a file at the relay, sealed, and tell of it: see `Uploads.send`. */
  sendFile(file: FileLike, sending: Sending = {}): Promise<void> {
    return this.uploading.send(file, sending);
  }

  /** Files on their way out. */
  uploads(): UploadInfo[] {
    return this.uploading.all();
  }

  /** Stop one, or take away what is told of one that was given up. */
  dropUpload(id: string): Promise<void> {
    return this.uploading.drop(id);
  }

  /** The pieces of a file, checked. */
  fetchFile(ref: FileRef, options: Fetching = {}) {
    return download(this.core, ref, options);
  }

  /** Tell the others that one is typing, or no longer. */
  signal(kind: TypingKind): void {
    this.typing.tell(kind);
  }

  async markRead(seq: number): Promise<void> {
    if (seq <= this.saved.readUpTo) return;
    await this.core.change((draft) => {
      // What was shown may have come to nothing meanwhile.
      const readUpTo = Math.max(draft.saved.readUpTo, Math.min(seq, draft.view.log.seq));
      amend(draft, { readUpTo });
    });
  }

  /** A person has compared this safety number with that member; "" takes it back. */
  async setVerified(mid: string, number: string): Promise<void> {
    const { verified } = this.core.tables;
    await this.core.change(({ turn }) => {
      if (number === "") turn.delete(verified, mid);
      else turn.put(verified, mid, json.write(number));
    });
  }

  /**
   * Whether a member's person types the same phrase, and so whether their keys are genuine: how it
   * ended. Only when a person has typed the phrase for this run. Throws `PhraseTooShort`; rejects
   * with `ComparisonRefused`, `RoomOver`.
   */
  comparePhrase(mid: string, phrase: string): Promise<Outcome> {
    return this.comparing.begin(mid, phrase);
  }

  /** Wait no longer for the other person. */
  giveUpComparing(mid: string): Promise<void> {
    return this.comparing.giveUp(mid);
  }

  /** Say that a member is oneself on another device, or (`removed`) that it is not. */
  setAlias(mid: string, removed = false): Promise<void> {
    return this.outbox.send({ type: "alias", member: fromHex(mid), removed });
  }

  // -- what changes the room: each settles once it is in the log --------------------------------

  /** A link by which one person can join, once, until `expires`. */
  async invite(options: {
    expires: number;
    role?: Exclude<Role, "root">;
    caps?: readonly string[];
  }): Promise<string> {
    const { code } = makeInvite(this.controls.making, this.hubUrl, options);
    const id = hex(code.inviteId);
    await this.core.change(({ turn }) => this.admissions.keepToken(turn, id, code.token));
    await this.controls.run(`open ${id}`, () => {
      const { signed } = makeInvite(this.controls.making, this.hubUrl, { ...options, ...code });
      return { signed, boxes: [] };
    });
    return this.linkOf(id, code.token);
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

  /** Settled once nothing is under way here any more. */
  leave(): Promise<void> {
    return this.leaving.leave();
  }

  /** Ask a member to become root; once they accept, the room is theirs. */
  offerHandover(mid: string): Promise<void> {
    return this.handover.offer(mid);
  }

  /** Take the room over from root, who offered it. */
  acceptHandover(): Promise<void> {
    return this.handover.accept();
  }

  /** Be at home at another relay from now on: see `Homes.moveHome`. */
  moveHome(home: Place): Promise<void> {
    return this.homes.moveHome(home);
  }

  /** Have another relay order the room: see `Homes.moveHub`. */
  moveHub(hub: Place): Promise<void> {
    return this.homes.moveHub(hub);
  }

  /** Where the copy of the relay ends that it is reached at; undefined before that is known. */
  get endOfCopy(): Seen | undefined {
    return this.isLive ? seenOf(this.core.view.log) : this.forced.behindAt;
  }

  /** Have another relay order the room by force, from the end of its copy on: see forcing.ts. */
  forceMove(hub: Place, seen: Seen): Promise<void> {
    return this.forcing.make(hub, seen);
  }

  /** Have it go on from what was found there: see `forceHub` of forcing.ts. */
  forceHub(found: Survey): Promise<void> {
    return forceHub(this, this.core, found);
  }

  /** What would be lost if it went on from the copy of the relay there: see `surveyHub`. */
  surveyHub(hub: Place): Promise<Survey> {
    return surveyHub(this, this.core, hub);
  }

  /** Do this with the room reached at that relay: see `tryAt` of forcing.ts. */
  tryAt<T>(place: Place, act: () => Promise<T>): Promise<T> {
    return tryAt(this, this.core, place, act);
  }

  /** Once it holds, also in a frozen room, true; false after `limit` ms. Rejects with `RoomOver`. */
  until(holds: () => boolean, limit: number): Promise<boolean> {
    return this.core.until(holds, limit, { isFrozenToo: true });
  }

  /** Go to the relay where the control log says that one is at home. */
  async settleHome(): Promise<void> {
    await endVisit(this.core);
    if (this.core.marks.forcing === undefined) await this.homes.settle(); // else see forcedesk.ts
  }

  /** Straight to the room's own relay, which takes every member. */
  goToHub(): Promise<void> {
    return this.homes.goToHub();
  }

  /** Whether it is live by then; false at once if the relay does not take it in. */
  async isLiveWithin(limit: number): Promise<boolean> {
    const isRefused = () => this.refusal !== "" && this.refusal !== COPY_BEHIND;
    await this.core.until(() => this.isLive || isRefused(), limit);
    return this.isLive;
  }

  // -- on a link -------------------------------------------------------------------------------

  /** Attach, catch up, and follow from then on; rejects with `LinkLost`. */
  attach(link: Link, transportKey: Uint8Array): Promise<void> {
    return this.attaching.attach(link, transportKey);
  }

  /** A control log that a new invite shows has these HUB_MOVEs: settled once what is void is taken back. */
  learn(records: readonly Uint8Array[]): Promise<void> {
    return this.forced.learn(records);
  }

  /** Is anybody still there? A link that died while the device slept shows it only when asked. */
  probe(): void {
    this.attaching.probe();
  }

  /** It goes to another link; the one that it is on may serve other rooms. */
  leaveLink(): void {
    this.attaching.leaveLink();
  }

  detach(): void {
    this.attaching.detach();
  }

  /** What was under way of these is over with the link. */
  private get parts(): readonly { linkLost(): void }[] {
    const { outbox, ledger, admissions, duties, renewing, beats, receipts, evidence, drops } = this;
    return [outbox, ledger, beats, receipts, evidence, drops, admissions, duties, renewing];
  }

  /** Nothing goes on here any more: the vault is about to be locked. */
  close(): void {
    this.core.close();
  }

  private async caughtUp(link: Link): Promise<void> {
    void completeChain(this.core, link);
    this.forcing.goOn();
    await this.announce();
    this.goOn();
    this.admissions.review();
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
    this.handover.goOn();
    this.renewing.check();
    this.duties.check();
    this.comparing.resume();
    this.beats.check();
    this.drops.check();
    this.receipts.check();
    this.evidence.check();
  }

  private reviewLater(): void {
    this.core.later(() => {
      this.admissions.review();
      this.renewing.check();
      this.duties.check();
      this.outbox.pump();
      this.reviewLater();
    }, REVIEW_MS);
  }

  /** A frame of this room that nobody asked for. */
  receive(frame: RelayFrame): void {
    if (frame.type === "box") this.ledger.takeBox(frame);
    else if (frame.type === "delivery") this.ledger.deliver(frame);
    else if (frame.type === "head") this.ledger.words.hear(frame);
    else if (frame.type === "evidence") this.evidence.shown(frame);
    else if (frame.type === "moved") this.forced.told(frame.records);
    else if (frame.type === "removed") {
      const removed = this.core.enqueue(() => this.leaving.removed(frame));
      void removed.catch((error) => this.core.failed(error)); // the next link tells it again
    } else if (frame.type === "join_asked") this.admissions.asked(frame.record);
    else if (frame.type === "join_confirmed") this.admissions.confirmed(frame.record);
    else if (frame.type === "returned") void this.outbox.returned(frame).catch(unlessOver);
    else if (frame.type === "key_asked") this.duties.asked(frame.record);
    else if (frame.type === "key_answered") {
      const { record, box } = frame;
      void this.duties.answered(record, box).then(() => this.outbox.pump(), unlessOver);
    } else if (frame.type === "signalled") this.signalled(frame);
  }

  private controlTaken(draft: Draft, record: ControlRecord): void {
    if (record.type === "update_e" && hex(record.mid) === this.me) {
      const mine = turnedTo(draft.view.mine, record.enc_key, Date.now());
      draft.view = { ...draft.view, mine };
    }
    this.admissions.taken(draft, record);
    this.homes.taken(draft, record);
    if (record.type === "handover") {
      mark(draft, { offeredTo: "", offeredBy: "", accepted: undefined });
    }
    if (record.type !== "hub_move") return;
    this.forcing.moved(draft);
    this.duties.linkLost(); // what was asked of the hub before, the new one never got
  }

  private heard(draft: Draft, seq: number, opened: Opened): void {
    const { mid, content } = opened.body;
    this.comparing.heard(draft, seq, opened);
    if (content.type === "alias") this.aliases.heard(draft, hex(mid), content);
    this.typing.said(hex(mid));
    this.handover.heard(draft, seq, opened);
  }

  private signalled({ mid, epoch, cell }: FrameOf<"signalled">): void {
    const id = hex(mid);
    const member = this.state.members.get(id);
    if (id === this.me || member === undefined) return;
    try {
      const { room } = this.state;
      const signal = openSignal(room, epoch, this.core.view.keys, mid, cell, Date.now());
      const { kind } = signal;
      if (kind === "seen") this.receipts.heard(member, signal);
      else if (kind === "typing" || kind === "stopped") this.typing.heard(id, kind);
    } catch (error) {
      // A hint that can not be read is no hint.
      if (!(error instanceof Unreadable || error instanceof KeyMissing)) throw error;
    }
  }
}
