/**
 * One room of this browser: attached on a link, followed entry by entry, spoken into, and looked
 * after where its member is an owner.
 *
 * Whatever comes is taken into the vault before it is shown, and whatever is said is there before it
 * is sent: a reload, a phone's sleep or a crash loses neither.
 */

import type { FileRef } from "../e2e/attachments.ts";
import type { Content } from "../e2e/bodies.ts";
import { acceptHandover, makeAttach, makeGrant, makeHandover, makeLeave } from "../e2e/controls.ts";
import { KeyMissing } from "../e2e/epochs.ts";
import { type Opened, Unreadable } from "../e2e/events.ts";
import { makeInvite } from "../e2e/invites.ts";
import { checkAdmitted, JoinRejected } from "../e2e/joining.ts";
import { turnedTo } from "../e2e/keys.ts";
import { resumedLog } from "../e2e/log.ts";
import { makeBoxedRekey } from "../e2e/rekeying.ts";
import { openSignal, sealSignal } from "../e2e/signals.ts";
import { b64decode, b64encode, equal, fromHex, hex } from "../protocol/bytes.ts";
import { NO_HUB, type RelayFrame } from "../protocol/frames.ts";
import type { ControlRecord, Role } from "../protocol/records.ts";
import { hubOf, isOwner, isRefusal, type Member } from "../protocol/room.ts";
import { openSigned } from "../themis/index.ts";
import { type Link, RelayRefused, unlessLost } from "../wire/link.ts";
import { AdmissionDesk, unlessRefused } from "./admissions.ts";
import { BeatDuty } from "./beats.ts";
import { BlobDrops } from "./blobdrops.ts";
import { chainOfRoom } from "./chainpages.ts";
import type { Outcome } from "./comparing.ts";
import { ControlDesk } from "./controldesk.ts";
import {
  amend,
  type Draft,
  mark,
  mayComeBack,
  RoomCore,
  type RoomListeners,
  RoomOver,
  unlessOver,
} from "./core.ts";
import { Duties } from "./duties.ts";
import { EvidenceDesk } from "./evidence.ts";
import { download, type Fetching, type FileLike } from "./files.ts";
import { Homes } from "./homes.ts";
import { isCopy, Lag } from "./lagging.ts";
import { Ledger } from "./ledger.ts";
import type { Place } from "./moving.ts";
import { Receipts } from "./receipts.ts";
import { RenewDuty } from "./renewing.ts";
import { RoomView } from "./roomview.ts";
import { json } from "./saved.ts";
import { refusedWith, told, toldOf } from "./told.ts";
import { type Sending, type UploadInfo, Uploads } from "./uploads.ts";
import { type Vault, VaultError } from "./vault.ts";

const REVIEW_MS = 60_000;
const TYPING_MS = 6_000;
const PROBE_MS = 5_000;
/** Until a relay is asked again that says we are out, and does not prove it. */
const REMOVED_AGAIN_MS = 10_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 600_000;
/** Answers about this room alone that may be others in a while: the link serves the rest on. */
const LATER = new Set(["rate_limited", "try_again", "storage_failed", "internal", "hub_away"]);
/** Answers that another attempt would get too. */
const REFUSALS = new Set([
  "not_found",
  "forbidden",
  "evicted",
  "left",
  "room_closed",
  "quota",
  "wrong_relay",
  "bad_key",
  "bad_record",
  "too_large",
]);

const COPY_BEHIND = told("copy_behind");

type FrameOf<T extends RelayFrame["type"]> = Extract<RelayFrame, { type: T }>;

export class Room extends RoomView {
  private readonly controls: ControlDesk;
  private readonly admissions: AdmissionDesk;
  private readonly duties: Duties;
  private readonly homes: Homes;
  private readonly renewing: RenewDuty;
  private readonly ledger: Ledger;
  private readonly beats: BeatDuty;
  private readonly drops: BlobDrops;
  private readonly receipts: Receipts;
  private readonly evidence: EvidenceDesk;
  private readonly uploading: Uploads;
  private readonly stopTyping = new Map<string, () => void>();
  /** Milliseconds until the relay is asked again, where it could not take the room in. */
  private pause = FIRST_PAUSE_MS;
  private readonly lag = new Lag();
  private attachAgain: () => void = () => undefined;

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
    this.beats = new BeatDuty(this.core, this.outbox);
    this.drops = new BlobDrops(this.core);
    this.uploading = new Uploads(this.core, this.outbox, () => this.drops.check());
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

  async leave(): Promise<void> {
    await this.controls.run("leave", () => ({
      signed: makeLeave(this.controls.making),
      boxes: [],
    }));
    await this.core.change((draft) => {
      amend(draft, { status: "removed", reason: "left" });
      this.outbox.giveUp(draft);
    });
    await this.uploading.giveUp();
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

  /** Be at home at another relay from now on: see `Homes.moveHome`. */
  moveHome(home: Place): Promise<void> {
    return this.homes.moveHome(home);
  }

  /** Have another relay order the room: see `Homes.moveHub`. */
  moveHub(hub: Place): Promise<void> {
    return this.homes.moveHub(hub);
  }

  /** Go to the relay where the control log says that one is at home. */
  settleHome(): Promise<void> {
    return this.homes.settle();
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
  async attach(link: Link, transportKey: Uint8Array): Promise<void> {
    if (!mayComeBack(this.saved) || this.core.isOver) return;
    this.core.link = link;
    this.attachAgain = () => this.attachLater(link, transportKey, REMOVED_AGAIN_MS);
    const { mine, state } = this.core.view;
    const { challenge } = link.welcome;
    const proof = makeAttach(state.room, mine, { transportKey, relayId: this.relayId, challenge });
    this.refusal = "";
    try {
      await this.create(link);
      if (this.core.link !== link) return;
      const hub = this.isAway ? { hub: hubOf(state), hub_url: this.saved.hubUrl } : NO_HUB;
      const answer = await link.ask({ type: "attach", record: proof.envelope, ...hub });
      if (this.core.link !== link) return; // it has gone to another relay meanwhile
      if (answer.type !== "attached" || answer.counter > answer.seq) {
        link.close();
      } else if (answer.seq < this.core.knownEnd && this.mayCatchUp(answer.seq)) {
        this.waitFor(link, transportKey);
      } else if (await this.isWhole(link, answer)) await this.sync(link, answer);
      this.pause = FIRST_PAUSE_MS;
    } catch (error) {
      if (error instanceof RelayRefused) {
        if (this.core.link === link)
          await this.refused(link, error, transportKey).catch((it) => this.core.failed(it));
      } else if (error instanceof VaultError || error instanceof RoomOver) this.core.failed(error);
      else throw error;
    }
  }

  /** Whether a relay whose log ends at `end`, too early, may yet get what is known here. */
  private mayCatchUp(end: number): boolean {
    return this.core.isActive && isCopy(this.state, this.relayId, end);
  }

  /** Its copy is behind: it is asked again, and nothing is sent until it has caught up. */
  private waitFor(link: Link, transportKey: Uint8Array): void {
    const now = Date.now();
    this.core.isLive = false;
    this.attachLater(link, transportKey, this.lag.behind(now));
    if (this.lag.isLong(now)) this.core.alarms.raise(COPY_BEHIND);
    this.refusal = COPY_BEHIND;
    this.core.changed();
  }

  private attachLater(link: Link, transportKey: Uint8Array, delay: number): void {
    const again = () => {
      if (this.core.link === link) void this.attach(link, transportKey).catch(unlessLost);
    };
    this.core.later(again, delay);
  }

  /** Whether the log at this link is as long as the one that is known here, and goes on from it. */
  private async isWhole(link: Link, { seq, log }: FrameOf<"attached">): Promise<boolean> {
    const known = this.core.view.log;
    let isWhole = false;
    await this.core.enqueue(async () => {
      // That relay was left meanwhile, or something was proven: no answer takes that back.
      if (this.core.link !== link || !mayComeBack(this.saved)) return;
      if (seq < this.core.knownEnd) return this.core.freeze(told("relay_behind"), "hub_behind");
      this.lag.over();
      if (seq === known.seq && !equal(log, known.log)) {
        return this.core.freeze(told("log.fork", seq));
      }
      if (this.saved.status === "frozen") {
        const changes = { status: "active", reason: "", code: "" } as const;
        await this.core.commit((draft) => amend(draft, changes));
      }
      isWhole = true;
    });
    return isWhole && this.core.link === link;
  }

  /** Is anybody still there? A link that died while the device slept shows it only when asked. */
  probe(): void {
    const { room, seq } = this.state;
    const request = { type: "chain_get", room, start: seq + 1 } as const;
    void this.core.link?.ask(request, PROBE_MS).catch((error: unknown) => {
      if (!(error instanceof RelayRefused)) unlessLost(error);
    });
  }

  /** It goes to another link; the one that it is on may serve other rooms. */
  leaveLink(): void {
    const { link } = this.core;
    const { room } = this.state;
    this.detach();
    void link?.ask({ type: "detach", room }).catch((error: unknown) => {
      if (!(error instanceof RelayRefused)) unlessLost(error);
    });
  }

  detach(): void {
    this.refusal = "";
    this.core.link = undefined;
    const { outbox, ledger, admissions, duties, renewing, beats, receipts, evidence, drops } = this;
    const talking = [outbox, ledger, beats, receipts, evidence, drops];
    for (const part of [...talking, admissions, duties, renewing]) part.linkLost();
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
      if (error instanceof RelayRefused && REFUSALS.has(error.code)) {
        const reason = toldOf(error);
        await this.core.change((draft) => amend(draft, { status: "removed", reason }));
      }
      throw error;
    }
    await this.core.change((draft) => amend(draft, { genesis: undefined, createToken: "" }));
  }

  private async sync(link: Link, attached: FrameOf<"attached">): Promise<void> {
    const { seq, log } = this.core.view.log;
    const { room } = this.state;
    // Deliveries may come before `synced` is looked at: they wait in the queue behind this.
    const answered = link.ask({ type: "sync", room, start: seq + 1, log });
    let [head, isLog] = [seq, false];
    const caughtUp = this.core.enqueue(async () => {
      const synced = (await answered) as FrameOf<"synced">;
      if (this.core.link !== link) return;
      head = synced.head;
      const from = Math.max(synced.start, synced.floor);
      if (from > head + 1)
        link.close(); // it begins behind its end: that is no log
      else if (from > seq + 1) await this.skip(link, synced);
      isLog = from <= head + 1;
    });
    await answered;
    await caughtUp;
    if (!isLog) return;
    // What an owner does, it does for the room as it is now.
    await this.core.until(() => this.lastSeq >= head || this.core.link !== link).catch(unlessOver);
    if (this.core.link !== link || this.core.isOver) return;
    await this.takeUp(attached);
    if (this.core.link !== link) return;
    this.core.isLive = true;
    await this.announce();
    this.goOn();
    this.admissions.review();
  }

  /**
   * Go on after one's own last event, though it came in a stretch that is gone at the relay. Only the
   * relay's word says which that was: where nothing of one's time here was missed, it is not asked.
   */
  private async takeUp({ counter, last }: FrameOf<"attached">): Promise<void> {
    const { myself, view, marks } = this.core;
    const known = Math.max(marks.ownCounter, view.senders.get(this.me)?.counter ?? 0);
    const hasMissed = myself !== undefined && view.log.start > myself.joinedSeq;
    if (last === undefined || !hasMissed || counter <= known) return;
    await this.core.change((draft) => this.outbox.takeUp(draft, counter, last));
  }

  /** The relay no longer keeps what was missed: the control log tells who is here, the rest is gone. */
  private async skip(link: Link, { start, floor, log }: FrameOf<"synced">): Promise<void> {
    const from = Math.max(start, floor);
    const { room } = this.state;
    const missed = await chainOfRoom(link, room, this.state.seq + 1);
    if (this.core.link !== link) return;
    const senders = new Map(
      [...this.core.view.senders].map(([mid, head]) => [mid, { ...head, certain: false }]),
    );
    try {
      await this.core.commit(async (draft) => {
        draft.view = { ...draft.view, senders, log: resumedLog(room, from - 1, log) };
        // It goes on from the state held: no relay can unsay by leaving out what is known.
        for (const [seq, envelope] of missed) {
          if (seq < from) this.controlTaken(draft, this.ledger.applyMissed(draft, seq, envelope));
        }
        const { state, mine } = draft.view;
        if (state.members.has(hex(mine.mid))) checkAdmitted(state, mine);
        await this.ledger.release(draft);
      });
    } catch (error) {
      if (!(isRefusal(error) || error instanceof JoinRejected)) throw error;
      await this.core.freeze(toldOf(error));
    }
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
    this.handOver();
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
    else if (frame.type === "removed") {
      const removed = this.core.enqueue(() => this.removed(frame));
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
    // What was asked of the hub before, the new one never got.
    if (record.type === "hub_move") this.duties.linkLost();
  }

  private heard(draft: Draft, seq: number, opened: Opened): void {
    const { mid, content } = opened.body;
    this.comparing.heard(draft, seq, opened);
    if (content.type === "alias") this.aliases.heard(draft, hex(mid), content);
    this.typing.delete(hex(mid));
    if (content.type === "handover_offer" && equal(mid, draft.view.state.root)) {
      mark(draft, { offeredBy: hex(content.to) === this.me ? hex(mid) : "" });
    }
    if (content.type !== "handover_accept" || hex(mid) !== draft.marks.offeredTo) return;
    const accepted = { mid: hex(mid), accept: b64encode(content.accept) };
    mark(draft, { offeredTo: "", accepted });
  }

  /** Somebody has accepted the room: hand it over, until that is in the log or refused. */
  private handOver(): void {
    const { accepted } = this.core.marks;
    if (accepted === undefined || !this.isLive || this.controls.has("handover")) return;
    const [mid, accept] = [fromHex(accepted.mid), b64decode(accepted.accept)];
    const make = () => ({ signed: makeHandover(this.controls.making, mid, accept), boxes: [] });
    const over = () =>
      this.core.change((draft) => {
        // Else somebody else has accepted since.
        if (draft.marks.accepted === accepted) mark(draft, { accepted: undefined });
      });
    // Who accepts may have said what holds no more, or never held.
    void this.controls.run("handover", make).catch(unlessRefused).then(over).catch(unlessOver);
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
      else if (kind === "typing" || kind === "stopped") this.typed(id, kind === "typing");
    } catch (error) {
      // A hint that can not be read is no hint.
      if (!(error instanceof Unreadable || error instanceof KeyMissing)) throw error;
    }
  }

  /** One timer for each member, however often the relay says so. */
  private typed(id: string, types: boolean): void {
    this.stopTyping.get(id)?.();
    this.stopTyping.delete(id);
    if (types) {
      this.typing.set(id, Date.now() + TYPING_MS);
      const over = () => this.typed(id, false);
      this.stopTyping.set(id, this.core.later(over, TYPING_MS + 1));
    } else this.typing.delete(id);
    this.core.changed();
  }

  /** The relay says we are out; believed for good only with the record that says so. */
  private async removed({ record, code }: FrameOf<"removed">): Promise<void> {
    if (this.isProof(record)) {
      await this.core.commit((draft) => {
        amend(draft, { status: "removed", reason: code });
        this.outbox.giveUp(draft);
      });
      void this.uploading.giveUp().catch(unlessOver); // behind this turn
    } else {
      this.refusal = refusedWith(code); // to attach tells why, or that it is not so
      this.attachAgain();
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

  /** The relay does not take the room in: for now, on this link, or as far as it is asked. */
  private async refused(
    link: Link,
    { code, wait, failure }: RelayRefused,
    transportKey: Uint8Array,
  ): Promise<void> {
    this.core.isLive = false;
    if (LATER.has(code)) {
      const delay = Math.max(this.pause, wait);
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
      this.attachLater(link, transportKey, delay);
    } else if (code === "hub_behind" && this.mayCatchUp(failure.seq ?? this.lastSeq)) {
      this.waitFor(link, transportKey);
      return;
    } else if (code === "wrong_relay" && this.isAway && this.saved.moving !== undefined) {
      await this.goToHub(); // HOME is in the log, and this relay alone has seen it
      return;
    } else if (code === "fork" || code === "hub_behind") {
      await this.core.enqueue(async () => {
        if (this.core.link === link) await this.core.freeze(refusedWith(code), code);
      });
      if (this.core.link !== link) return;
    } else if (!REFUSALS.has(code)) {
      link.close(); // the next one may do better
      return;
    }
    this.refusal = refusedWith(code); // the relay's word alone: the next link asks again
    this.core.changed();
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
