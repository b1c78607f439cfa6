/** What a person sees of a room: read from the vault, and from what the room knows. */

import { inviteLink } from "../e2e/invites.ts";
import { b64encode, fromHex, hex } from "../protocol/bytes.ts";
import type { Role } from "../protocol/records.ts";
import {
  hubOf,
  type Member,
  mayAdmit,
  mayAttach,
  mayPost,
  type RoomState,
} from "../protocol/room.ts";
import { Aliases } from "./aliases.ts";
import { forgetVoided, voided } from "./aside.ts";
import { CompareDesk } from "./comparing.ts";
import type { RoomCore } from "./core.ts";
import type { Entry } from "./entries.ts";
import { hubUrlOf } from "./moving.ts";
import { Outbox } from "./outbox.ts";
import type { Waiting } from "./queued.ts";
import { json, type SavedRoom } from "./saved.ts";
import { type Cut, padded } from "./tables.ts";
import type { Told } from "./told.ts";
import { Typing } from "./typing.ts";

const PAGE = 50;
const SEARCH_PAGE = 200;

/** Without case, width and accents. */
const folded = (text: string) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

export interface RoomMember extends Member {
  readonly name: string;
  readonly isMe: boolean;
}

/** An open invite of one's own. */
export interface OpenInvite {
  readonly id: string;
  readonly link: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
  readonly role: Role;
}

/** Members in hex. */
export interface Delivery {
  readonly reached: readonly string[];
  readonly awaited: readonly string[];
}

export class RoomView {
  protected readonly outbox: Outbox;
  protected readonly comparing: CompareDesk;
  protected readonly aliases: Aliases;
  protected readonly typing: Typing;

  constructor(protected readonly core: RoomCore) {
    this.outbox = new Outbox(core);
    this.comparing = new CompareDesk(core, this.outbox);
    this.aliases = new Aliases(core);
    this.typing = new Typing(core);
  }

  get id(): string {
    return this.core.id;
  }

  get saved(): SavedRoom {
    return this.core.saved;
  }

  get name(): string {
    return this.saved.name;
  }

  get isLive(): boolean {
    return this.core.isLive;
  }

  /** What the control log says now: members, roles, epoch. */
  get state(): RoomState {
    return this.core.view.state;
  }

  /** Why the relay does not let this member in just now; "" if it does. */
  get refusal(): Told {
    return this.core.refusal;
  }

  /** Nothing that comes from now on is looked at before this. Rejects as it does, and with `RoomOver`. */
  goOnAfter(settled: Promise<void>): Promise<void> {
    return this.core.enqueue(() => settled);
  }

  /** What its person should hear of, each until it is dismissed. */
  get alarms(): readonly Told[] {
    return this.core.alarms.all;
  }

  /** Its person has read that one. */
  dismissAlarm(alarm: Told): Promise<void> {
    return this.core.alarms.dismiss(alarm);
  }

  /** What came to nothing when root moved the room by force; undefined where nothing is kept of it. */
  get cut(): Cut | undefined {
    return this.core.marks.cut;
  }

  /** The messages and changes of that which were not said again, oldest first. */
  voided(): Promise<Entry[]> {
    return this.core.isOver ? Promise.resolve([]) : voided(this.core);
  }

  /** Its person has seen them: keep them no longer. */
  forgetVoided(): Promise<void> {
    return forgetVoided(this.core);
  }

  /** What the history shows has changed only if this has. */
  get revision(): number {
    return this.core.revision;
  }

  /** The number of the newest entry of the log. */
  get lastSeq(): number {
    return this.core.view.log.seq;
  }

  /**
   * Which other members, an entry's sender aside, are proven to have it on their device, in hex,
   * and of which of those who may read it that is not known. Not that anybody has read it.
   */
  delivery({ seq, mid: sender }: Pick<Entry, "seq" | "mid">): Delivery {
    const { me, marks } = this.core;
    const readers = [...this.state.members].filter(
      ([mid, { historyFrom }]) => mid !== me && mid !== sender && historyFrom <= seq,
    );
    const mids = readers.map(([mid]) => mid);
    const has = (mid: string) => (marks.reached[mid] ?? -1) >= seq;
    return { reached: mids.filter(has), awaited: mids.filter((mid) => !has(mid)) };
  }

  get epoch(): number {
    return this.state.epoch;
  }

  get me(): string {
    return this.core.me;
  }

  get isOwner(): boolean {
    return this.core.isOwner;
  }

  get mayPost(): boolean {
    const { myself, isActive } = this.core;
    return myself !== undefined && mayPost(myself) && isActive;
  }

  get mayAttach(): boolean {
    return this.mayPost && mayAttach(this.core.myself as Member);
  }

  get mayInvite(): boolean {
    const { myself, isActive } = this.core;
    return myself !== undefined && mayAdmit(myself) && isActive;
  }

  get url(): string {
    return this.saved.url;
  }

  /** The address of the relay that orders the room: the one that invites name. */
  get hubUrl(): string {
    return hubUrlOf(this.saved);
  }

  get relayId(): Uint8Array {
    return this.saved.relayId;
  }

  /** Whether it is reached through another relay than the one that orders it. */
  get isAway(): boolean {
    return this.core.isAway;
  }

  /** Whether its member may be at home at another relay. */
  get mayMove(): boolean {
    return this.core.isActive && !this.state.policy.local_only;
  }

  /** Whether its member may have another relay order the room. */
  get mayMoveHub(): boolean {
    return this.mayMove && hex(this.state.root) === this.me;
  }

  /** The same by force: of a room that is frozen, too. */
  get mayForceHub(): boolean {
    const isFrozen = this.saved.status === "frozen" && !this.core.isOver;
    const isMovable = this.mayMove || (isFrozen && !this.state.policy.local_only);
    return isMovable && hex(this.state.root) === this.me;
  }

  /** Who offers the room to this member, in hex; "" nobody. */
  get offeredBy(): string {
    return this.core.marks.offeredBy === hex(this.state.root) ? this.core.marks.offeredBy : "";
  }

  members(): RoomMember[] {
    return [...this.state.members.values()].map((member) => ({
      ...member,
      name: this.nameOf(hex(member.mid)),
      isMe: hex(member.mid) === this.me,
    }));
  }

  /** What a member last called themselves, safe to show; "" if they never said. */
  nameOf(mid: string): string {
    const raw = this.core.vault.get(this.core.tables.names, mid);
    return raw === undefined ? "" : json.read<string>(raw);
  }

  /** Who is said to be typing, in hex. It is a hint: no signature stands behind it. */
  typists(now = Date.now()): string[] {
    return this.typing.who(now);
  }

  /** The newest entries, or those before `before`; oldest first. */
  async history(before?: number, limit = PAGE): Promise<Entry[]> {
    if (this.core.isOver) return [];
    const range = before === undefined ? { limit } : { before: padded(before), limit };
    const found = await this.core.vault.archived(this.core.tables.archive, range);
    return found.map(([, raw]) => json.read<Entry>(raw));
  }

  /** The newest messages in which all of these words stand, newest first. */
  search(
    words: string,
    options: { readonly most: number; readonly signal?: AbortSignal },
  ): Promise<Entry[]> {
    return this.ofOneLog(() => this.found(words, options));
  }

  /** All that is kept of what was said, in clear, a JSON object a line; oldest first. */
  exported(): Promise<string> {
    return this.ofOneLog(() => this.written());
  }

  /** What is read page by page, once more where the end of the log came to nothing meanwhile. */
  private async ofOneLog<T>(read: () => Promise<T>): Promise<T> {
    for (;;) {
      const { cuts } = this.core.marks;
      const found = await read();
      if (this.core.marks.cuts === cuts) return found;
    }
  }

  private async found(
    words: string,
    { most, signal }: { readonly most: number; readonly signal?: AbortSignal },
  ): Promise<Entry[]> {
    const wanted = folded(words).split(/\s+/u).filter(Boolean);
    const found: Entry[] = [];
    for await (const entry of this.backwards()) {
      if (found.length >= most || signal?.aborted) break;
      const text = folded(`${entry.text} ${entry.file?.name ?? ""}`);
      const isSaid = entry.kind === "text" || entry.kind === "file";
      if (isSaid && wanted.every((word) => text.includes(word))) found.push(entry);
    }
    return found;
  }

  private async written(): Promise<string> {
    const lines: string[] = [];
    for await (const entry of this.backwards()) {
      const { seq, ts, mid, kind, text, edited, replyTo, reactions, file, via, speaker } = entry;
      const name = this.nameOf(mid) || entry.name;
      const attached = file && { name: file.name, type: file.mime, size: file.size };
      const said = { seq, ts, member: mid, name, kind, text, edited, replyTo, reactions };
      const elsewhere = via !== "" && { via: { network: via, name: speaker ?? "" } };
      lines.push(JSON.stringify({ ...said, ...elsewhere, ...(attached && { file: attached }) }));
    }
    const proofs = this.core.vault
      .items(this.core.tables.evidence)
      .map(([, raw]) => JSON.stringify({ evidence: b64encode(raw) }));
    return [...lines.reverse(), ...proofs].join("\n");
  }

  /** Entry by entry, newest first; read page by page, so that the page stays quick. */
  private async *backwards(): AsyncGenerator<Entry> {
    for (let before: number | undefined; ; ) {
      const page = await this.history(before, SEARCH_PAGE);
      yield* page.toReversed();
      before = page[0]?.seq;
      if (page.length < SEARCH_PAGE) return;
    }
  }

  /** What was said here and is not yet at the relay. */
  waiting(): Waiting[] {
    return this.outbox.items();
  }

  /** The safety number that was compared with a member; "" if none was. */
  verifiedAs(mid: string): string {
    const raw = this.core.vault.get(this.core.tables.verified, mid);
    return raw === undefined ? "" : json.read<string>(raw);
  }

  /** When a phrase has shown that a member's keys are genuine; undefined if none has. */
  provenAt(member: Member): number | undefined {
    return this.comparing.provenAt(member);
  }

  /** Members, in hex, that wait for the person here to type a phrase. */
  phrasesAsked(): string[] {
    return [...this.state.members.keys()].filter((mid) => this.comparing.askedUntil(mid) > 0);
  }

  /** Whether a comparison with this member is under way. */
  isComparing(mid: string): boolean {
    return this.comparing.isOpen(mid);
  }

  /** The current members, in hex, that are the same person as this one. */
  sameAs(mid: string): string[] {
    return this.aliases.sameAs(mid);
  }

  /** Whether `one` says that `other` is the same person. */
  saysToBe(one: string, other: string): boolean {
    return this.aliases.says(one, other);
  }

  /** One's own open invites. */
  invites(): OpenInvite[] {
    return [...this.state.invites].flatMap(([id, { inviter, expires, role }]) => {
      const token = this.core.vault.get(this.core.tables.tokens, id);
      if (token === undefined || hex(inviter) !== this.me) return [];
      return [{ id, link: this.linkOf(id, token), expires, role }];
    });
  }

  /** The link of an invite of one's own: it leads to the relay that orders the room now. */
  protected linkOf(id: string, token: Uint8Array): string {
    const { state } = this;
    return inviteLink({
      relayUrl: this.hubUrl,
      relayId: hubOf(state),
      room: state.room,
      inviteId: fromHex(id),
      token,
      inviter: fromHex(this.me),
    });
  }

  protected names(): ReadonlyMap<string, string> {
    const said = this.core.vault
      .items(this.core.tables.names)
      .map(([mid, raw]) => [mid, json.read<string>(raw)] as const);
    return new Map([[this.me, this.saved.myName], ...said]);
  }
}
