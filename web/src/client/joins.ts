/**
 * Joins under way: asked, answered, confirmed, admitted (ofcd/client/joins.py). Each goes on by
 * itself, also after a reload, until someone who may admit has been online.
 *
 * A join may go through another relay than the room's own, which passes it on.
 */

import type { Standing } from "../e2e/chain.ts";
import { type InviteCode, parseLink } from "../e2e/invites.ts";
import { checkResponse, JoinRejected, makeRequest } from "../e2e/joining.ts";
import { displayName } from "../e2e/names.ts";
import { equal, hex } from "../protocol/bytes.ts";
import { RETRYABLE } from "../protocol/codes.ts";
import { type HubFields, NO_HUB, type RelayFrame } from "../protocol/frames.ts";
import { MOVES_TOLD } from "../protocol/limits.ts";
import { peek } from "../themis/index.ts";
import { type Link, LinkLost, RelayRefused } from "../wire/link.ts";
import { checkOutside, checkPast, earlierState, enter, openRoom, stateOf } from "./arriving.ts";
import { chainOfInvite } from "./chainpages.ts";
import { isSamePlace } from "./core.ts";
import { rowsBehind } from "./journal.ts";
import type { Place } from "./moving.ts";
import { OtherRelay, type Relay, type Relays } from "./relays.ts";
import { type PendingJoin, savedJoin } from "./saved.ts";
import { Tables } from "./tables.ts";
import { type Told, toldOf } from "./told.ts";
import { Turn, type Vault, VaultError, VaultLocked } from "./vault.ts";

const JOINS = "joins";
/** Milliseconds after which it is asked again how far a join has come, at first and in time. */
const FIRST_POLL_MS = 5_000;
const LAST_POLL_MS = 120_000;
/** Perhaps it was admitted long ago: attaching tells. */
const SPENT = new Set(["invite_unknown", "invite_used"]);
const AGAIN = new Set([...RETRYABLE, "join_not_ready", "internal"]);

/** How a join stands, for its person. */
export interface JoinInfo {
  /** The room's id in hex. */
  readonly room: string;
  readonly state: "asking" | "waiting" | "failed";
  /** Why it failed; "" else. */
  readonly reason: Told;
}

export interface JoinListeners {
  /** A room is about to be entered anew: who was in it before writes no more. */
  leaving(id: string): void;
  /** Of a room that this vault was in before, a control log shows these HUB_MOVEs. */
  moves(id: string, records: readonly Uint8Array[]): Promise<void>;
  /** A room was joined, and stands in the vault. */
  joined(id: string, relay: Relay, link: Link): Promise<void>;
  changed(): void;
}

interface Join {
  readonly pending: PendingJoin;
  readonly info: JoinInfo;
}

interface Poll {
  readonly pause: number;
  readonly timer: ReturnType<typeof setTimeout>;
}

export class Joins {
  private readonly joins = new Map<string, Join>();
  /** What is being entered: the relay may say twice that one is admitted. */
  private readonly entering = new Set<string>();
  private readonly polls = new Map<string, Poll>();
  private isClosed = false;

  constructor(
    private readonly vault: Vault,
    private readonly relays: Relays,
    private readonly listeners: JoinListeners,
  ) {
    for (const [id, raw] of vault.items(JOINS)) {
      this.joins.set(id, { pending: savedJoin.read(raw), info: asking(id) });
    }
  }

  all(): JoinInfo[] {
    return [...this.joins.values()].map(({ info }) => info);
  }

  /** Whether some join goes through this relay. */
  uses(relay: Place): boolean {
    return [...this.joins.values()].some(({ pending }) => isSamePlace(placeOf(pending), relay));
  }

  start(): void {
    for (const { pending } of this.joins.values()) {
      const { url, relayId } = placeOf(pending);
      this.relays.at(url, relayId);
    }
  }

  close(): void {
    this.isClosed = true;
    for (const id of this.polls.keys()) this.stopPolling(id);
  }

  /**
   * Begin to join by an invite link, through the relay at the address `via`, or else the room's own.
   * Throws `LinkInvalid`; rejects with `RelayRefused`, `JoinRejected`, `OtherRelay` or `LinkLost`,
   * and then nothing has begun. Resolves to the room's id.
   */
  async join(text: string, name: string, via = ""): Promise<string> {
    const code = parseLink(text);
    const id = hex(code.room);
    if (this.goesOn(id, code)) return id;
    const relayId = via === "" ? code.relayId : await this.relays.idOf(via);
    const relay = this.relays.at(via || code.relayUrl, relayId);
    const link = await this.relays.linkTo(relay);
    const state = stateOf(code.room, await chainOfInvite(link, code, hubOf(code, relay)));
    checkOutside(this.vault, id, state);
    const joining = makeRequest(code, state, { home: relayId, now: Date.now(), name });
    const pending: PendingJoin = {
      joining,
      name: displayName(name),
      confirm: undefined,
      keys: undefined,
      roomName: "",
      names: [],
      checkpoint: undefined,
      response: undefined,
      ctl: undefined,
      home: via === "" ? undefined : { url: via, relayId },
    };
    await this.keepJoin(id, pending, asking(id));
    await this.ask(link, id);
    return id;
  }

  /** Whether a join under way is what this invite would begin; one that failed gives way. */
  private goesOn(id: string, { inviteId }: InviteCode): boolean {
    const join = this.joins.get(id);
    if (join === undefined) return false;
    const { joining, confirm } = join.pending;
    const isSame = equal(joining.code.inviteId, inviteId) && join.info.state !== "failed";
    // Once confirmed, those keys may be a member's.
    return isSame || confirm !== undefined;
  }

  /** Give a join up. */
  async cancel(id: string): Promise<void> {
    this.stopPolling(id);
    this.joins.delete(id);
    const turn = new Turn(this.vault);
    turn.delete(JOINS, id);
    await this.vault.commit(turn);
    this.listeners.changed();
  }

  /** A link is open: ask how far each join there has come. */
  async opened(relay: Relay, link: Link): Promise<void> {
    const here = [...this.joins].filter(([, { pending }]) => isSamePlace(placeOf(pending), relay));
    await Promise.all(here.map(([id]) => this.ask(link, id)));
  }

  /** Ask in, or how far it has come: the same request is the same join. */
  private async ask(link: Link, id: string): Promise<void> {
    await this.patiently(link, id, async ({ pending }, relay) => {
      const { code, request } = pending.joining;
      const record = request.envelope;
      const status = await link.ask({ type: "join", record, ...hubOf(code, relay) });
      if (status.type === "join_status") await this.statusCame(link, id, status);
    });
  }

  /** A frame of a room that is being joined. */
  async moved(link: Link, id: string, frame: RelayFrame): Promise<void> {
    await this.patiently(link, id, async () => {
      if (frame.type === "join_answer") await this.answered(link, id, frame.record);
      else if (frame.type === "join_status") await this.statusCame(link, id, frame);
    });
  }

  private async statusCame(
    link: Link,
    id: string,
    { state, record }: Extract<RelayFrame, { type: "join_status" }>,
  ): Promise<void> {
    if (state === "admitted") await this.admitted(link, id);
    else if (record.length > 0) await this.answered(link, id, record);
    else this.note(id, waiting(id));
  }

  private async answered(link: Link, id: string, envelope: Uint8Array): Promise<void> {
    const relay = this.relays.ofLink(link);
    const join = this.joins.get(id);
    if (join === undefined || relay === undefined) return;
    const { code } = join.pending.joining;
    const { response } = join.pending;
    const isKnown = response !== undefined && equal(response, envelope);
    if (!isKnown) await this.takeAnswer(link, relay, id, envelope);
    const confirm = this.joins.get(id)?.pending.confirm;
    if (confirm === undefined) return;
    const { room } = code;
    const status = await link.ask({
      type: "join_confirm",
      room,
      record: confirm,
      ...hubOf(code, relay),
    });
    if (status.type === "join_status" && status.state === "admitted") await this.admitted(link, id);
  }

  private async takeAnswer(
    link: Link,
    relay: Relay,
    id: string,
    envelope: Uint8Array,
  ): Promise<void> {
    const join = this.joins.get(id);
    if (join === undefined) return;
    const { joining } = join.pending;
    const { room } = joining.code;
    const chain = await chainOfInvite(link, joining.code, hubOf(joining.code, relay));
    const joined = checkResponse(joining, chain, envelope);
    await this.checkEarlier(room, chain);
    const { welcome } = joined;
    if (!this.joins.has(id)) return; // given up meanwhile
    const told: PendingJoin = {
      ...join.pending,
      response: envelope,
      confirm: joined.confirm.envelope,
      keys: joined.keys,
      roomName: displayName(welcome.room_name),
      names: welcome.names.map(([mid, name]) => [mid, displayName(name)] as const),
      checkpoint: { seq: welcome.seq, log: welcome.log },
      ctl: welcome.ctl,
    };
    await this.keepJoin(id, told, waiting(id));
  }

  /**
   * Throws `JoinRejected` unless this control log goes on from what is known of the room, if this vault was
   * in it before. It may not have been told that root moved the room by force since: told now, it goes back.
   */
  private async checkEarlier(room: Uint8Array, chain: readonly Standing[]): Promise<void> {
    const id = hex(room);
    if (earlierState(this.vault, id) === undefined) return;
    const moves = chain.map(([, raw]) => raw).filter(isMove);
    if (moves.length > 0) await this.listeners.moves(id, moves.slice(-MOVES_TOLD));
    const earlier = earlierState(this.vault, id);
    if (earlier !== undefined) checkPast(room, chain, earlier.ctl);
  }

  private async admitted(link: Link, id: string): Promise<void> {
    if (this.entering.has(id)) return;
    this.entering.add(id);
    try {
      await this.enter(link, id);
    } finally {
      this.entering.delete(id);
    }
  }

  private async enter(link: Link, id: string): Promise<void> {
    const pending = this.joins.get(id)?.pending;
    const relay = this.relays.ofLink(link);
    if (pending?.keys === undefined || relay === undefined) return;
    const opened = await openRoom(link, relay, pending);
    const kept = await rowsBehind(this.vault, new Tables(id).chain, -1);
    checkOutside(this.vault, id, opened.whole);
    if (!this.joins.has(id)) return; // given up meanwhile
    this.listeners.leaving(id);
    const turn = new Turn(this.vault);
    enter(turn, relay, pending, opened, kept);
    turn.delete(JOINS, id);
    await this.vault.commit(turn);
    this.stopPolling(id);
    this.joins.delete(id);
    await this.listeners.joined(id, relay, link);
  }

  /** Act for a join that is under way; a refusal ends it, or has it go on later. */
  private async patiently(
    link: Link,
    id: string,
    act: (join: Join, relay: Relay) => Promise<void>,
  ): Promise<void> {
    const join = this.joins.get(id);
    const relay = this.relays.ofLink(link);
    if (join === undefined || relay === undefined) return;
    if (!isSamePlace(placeOf(join.pending), relay)) return; // no other relay has a say in it
    try {
      await act(join, relay);
      this.poll(link, id);
    } catch (error) {
      // It goes on with the next link, or the next page.
      if (error instanceof LinkLost || error instanceof VaultLocked) return;
      if (error instanceof VaultError) this.poll(link, id);
      if (error instanceof RelayRefused) await this.refused(link, id, error);
      else if (error instanceof JoinRejected) this.rejected(link, id, error);
      else throw error;
    }
  }

  private async refused(link: Link, id: string, error: RelayRefused): Promise<void> {
    const { failure } = error;
    // Once confirmed, these keys may be a member's: no word of the relay's ends the join.
    const isConfirmed = this.joins.get(id)?.pending.confirm !== undefined;
    if (isConfirmed && SPENT.has(failure.code)) {
      this.poll(link, id);
      await this.admitted(link, id).catch(unlessNotYet);
    } else if (isConfirmed || AGAIN.has(failure.code)) {
      this.poll(link, id, error.wait);
    } else this.note(id, { room: id, state: "failed", reason: toldOf(error) });
  }

  private rejected(link: Link, id: string, error: JoinRejected): void {
    const isConfirmed = this.joins.get(id)?.pending.confirm !== undefined;
    if (isConfirmed && error.fault !== "already_member") this.poll(link, id);
    else this.note(id, { room: id, state: "failed", reason: toldOf(error) });
  }

  // -- asking again ----------------------------------------------------------------------------

  private poll(link: Link, id: string, wish = 0): void {
    if (this.isClosed || !this.joins.has(id)) return;
    const before = this.polls.get(id)?.pause ?? FIRST_POLL_MS / 2;
    this.stopPolling(id);
    const pause = Math.min(2 * before, LAST_POLL_MS);
    const timer = setTimeout(() => void this.ask(link, id), Math.max(pause, wish));
    this.polls.set(id, { pause, timer });
  }

  private stopPolling(id: string): void {
    clearTimeout(this.polls.get(id)?.timer);
    this.polls.delete(id);
  }

  private async keepJoin(id: string, pending: PendingJoin, info: JoinInfo): Promise<void> {
    const turn = new Turn(this.vault);
    turn.put(JOINS, id, savedJoin.write(pending));
    await this.vault.commit(turn);
    this.joins.set(id, { pending, info });
    this.listeners.changed();
  }

  private note(id: string, info: JoinInfo): void {
    const join = this.joins.get(id);
    if (join === undefined) return;
    this.joins.set(id, { ...join, info });
    this.listeners.changed();
  }
}

const asking = (room: string): JoinInfo => ({ room, state: "asking", reason: "" });
const waiting = (room: string): JoinInfo => ({ room, state: "waiting", reason: "" });

/** For an attempt that may come too early. */
function unlessNotYet(error: unknown): void {
  if (isJoinProblem(error) || error instanceof LinkLost) return;
  throw error;
}

const isMove = (envelope: Uint8Array): boolean => peek(envelope).record.type === "hub_move";

/** Where a join is asked for. */
const placeOf = ({ home, joining: { code } }: PendingJoin): Place =>
  home ?? { url: code.relayUrl, relayId: code.relayId };

/** The room's own relay and its address, where that is another one than the link's. */
const hubOf = (code: InviteCode, { relayId }: Relay): HubFields =>
  equal(relayId, code.relayId) ? NO_HUB : { hub: code.relayId, hub_url: code.relayUrl };

/** What `join` rejects with, for its person. */
export const isJoinProblem = (error: unknown): error is Error =>
  error instanceof RelayRefused || error instanceof JoinRejected || error instanceof OtherRelay;
