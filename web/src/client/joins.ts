/**
 * Joins under way: asked, answered, confirmed, admitted. Each goes on by itself, also after a
 * reload, until someone who may admit has been online.
 */

import { verifyChain } from "../e2e/chain.ts";
import { makeAttach } from "../e2e/controls.ts";
import { parseLink } from "../e2e/invites.ts";
import { checkAdmitted, checkResponse, JoinRejected, makeRequest } from "../e2e/joining.ts";
import { resumedLog } from "../e2e/log.ts";
import { displayName } from "../e2e/names.ts";
import { equal, hex } from "../protocol/bytes.ts";
import { NO_HUB, type RelayFrame } from "../protocol/frames.ts";
import type { RoomState } from "../protocol/room.ts";
import { type Link, LinkLost, RelayRefused, type Request } from "../wire/link.ts";
import { chainOfInvite, chainOfRoom } from "./chainpages.ts";
import type { Relay, Relays } from "./relays.ts";
import { json, type PendingJoin, records, savedJoin, savedMemberKeys } from "./saved.ts";
import { saveNewRoom } from "./tables.ts";
import { Turn, type Vault } from "./vault.ts";

const JOINS = "joins";

/** How a join stands, for its person. */
export interface JoinInfo {
  /** The room's id in hex. */
  readonly room: string;
  readonly state: "asking" | "waiting" | "failed";
  /** Why it failed; "" else. */
  readonly reason: string;
}

export interface JoinListeners {
  /** A room was joined, and stands in the vault. */
  joined(id: string, relay: Relay, link: Link): Promise<void>;
  changed(): void;
}

export class Joins {
  private readonly joins = new Map<string, { pending: PendingJoin; info: JoinInfo }>();
  /** What is being entered: the relay may say twice that one is admitted. */
  private readonly entering = new Set<string>();

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

  start(): void {
    for (const { pending } of this.joins.values()) {
      this.relays.at(pending.joining.code.relayUrl, pending.joining.code.relayId);
    }
  }

  /**
   * Begin to join by an invite link. Throws `LinkInvalid`; rejects with `RelayRefused`,
   * `JoinRejected` or `LinkLost`, and then nothing has begun. Resolves to the room's id.
   */
  async join(text: string, name: string): Promise<string> {
    const code = parseLink(text);
    const id = hex(code.room);
    if (this.joins.has(id)) return id;
    const relay = this.relays.at(code.relayUrl, code.relayId);
    const link = await this.relays.linkTo(relay);
    const state = verifyChain(code.room, await chainOfInvite(link, code));
    this.checkOutside(id, state);
    const joining = makeRequest(code, state, { home: code.relayId, now: Date.now(), name });
    const pending: PendingJoin = {
      joining,
      name: displayName(name),
      confirm: undefined,
      keys: undefined,
      roomName: "",
      names: [],
      checkpoint: undefined,
    };
    await this.keepJoin(id, pending, asking(id));
    await this.ask(link, id);
    return id;
  }

  /** Give a join up. */
  async cancel(id: string): Promise<void> {
    this.joins.delete(id);
    const turn = new Turn(this.vault);
    turn.delete(JOINS, id);
    await this.vault.commit(turn);
    this.listeners.changed();
  }

  /** A link is open: ask how far each join there has come. */
  async opened(relay: Relay, link: Link): Promise<void> {
    const here = [...this.joins].filter(
      ([, { pending }]) => pending.joining.code.relayUrl === relay.url,
    );
    await Promise.all(here.map(([id]) => this.ask(link, id)));
  }

  /** Ask in, or how far it has come: the same request is the same join. */
  private async ask(link: Link, id: string): Promise<void> {
    const join = this.joins.get(id);
    if (join === undefined) return;
    const record = join.pending.joining.request.envelope;
    await this.orFailed(id, async () => {
      const status = await link.ask({ type: "join", record, ...NO_HUB });
      if (status.type === "join_status") await this.statusCame(link, id, status);
    });
  }

  /** A frame of a room that is being joined. */
  async moved(link: Link, id: string, frame: RelayFrame): Promise<void> {
    if (frame.type === "join_answer") {
      await this.orFailed(id, () => this.answered(link, id, frame.record));
    } else if (frame.type === "join_status") {
      await this.orFailed(id, () => this.statusCame(link, id, frame));
    }
  }

  private async statusCame(
    link: Link,
    id: string,
    { state, record }: Extract<RelayFrame, { type: "join_status" }>,
  ): Promise<void> {
    if (state === "admitted") await this.admitted(link, id);
    else if (record.length > 0) await this.answered(link, id, record);
    else this.note(id, { room: id, state: "waiting", reason: "" });
  }

  private async answered(link: Link, id: string, envelope: Uint8Array): Promise<void> {
    const join = this.joins.get(id);
    if (join === undefined) return;
    const { pending } = join;
    const { joining } = pending;
    const joined = checkResponse(joining, await chainOfInvite(link, joining.code), envelope);
    const { welcome } = joined;
    const told: PendingJoin = {
      ...pending,
      confirm: joined.confirm.envelope,
      keys: joined.keys,
      roomName: displayName(welcome.room_name),
      names: welcome.names.map(([mid, name]) => [mid, displayName(name)] as const),
      checkpoint: { seq: welcome.seq, log: welcome.log },
    };
    await this.keepJoin(id, told, { room: id, state: "waiting", reason: "" });
    const request: Request = {
      type: "join_confirm",
      room: joining.code.room,
      record: joined.confirm.envelope,
      ...NO_HUB,
    };
    const status = await link.ask(request);
    if (status.type === "join_status" && status.state === "admitted") await this.admitted(link, id);
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
    const join = this.joins.get(id);
    const relay = this.relays.ofLink(link);
    if (join?.pending.keys === undefined || relay === undefined) return;
    const { pending } = join;
    const { code, keys: mine } = pending.joining;
    const opened = await openRoom(link, relay.keys.public, pending);
    const me = checkAdmitted(opened.whole, mine);
    this.checkOutside(id, opened.whole);
    const turn = new Turn(this.vault);
    const saved = {
      room: code.room,
      url: code.relayUrl,
      relayId: code.relayId,
      name: pending.roomName,
      myName: pending.name,
      readUpTo: me.historyFrom - 1,
      status: "active" as const,
      reason: "",
      genesis: undefined,
      createToken: "",
    };
    const log = resumedLog(code.room, opened.start - 1, opened.log);
    const view = {
      mine,
      state: opened.state,
      keys: join.pending.keys,
      log,
      senders: new Map(),
    };
    saveNewRoom(turn, saved, view, pending.checkpoint);
    for (const [mid, name] of pending.names) turn.put(`names/${id}`, hex(mid), json.write(name));
    turn.delete(JOINS, id);
    await this.vault.commit(turn);
    this.joins.delete(id);
    await this.listeners.joined(id, relay, link);
  }

  /** Keys of a member are never overwritten: throws `JoinRejected` where this vault holds some. */
  private checkOutside(id: string, { members }: RoomState): void {
    const raw = this.vault.get(`room/${id}`, "mine");
    if (raw === undefined) return;
    const { mid } = savedMemberKeys.read(records(raw));
    if (members.has(hex(mid))) throw new JoinRejected("already_member");
  }

  /** Note a refusal for the person; a lost link is none: the join goes on with the next one. */
  private async orFailed(id: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (error instanceof LinkLost) return;
      if (!(error instanceof RelayRefused || error instanceof JoinRejected)) throw error;
      this.note(id, { room: id, state: "failed", reason: error.message });
    }
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

/** Where a newcomer's reading begins, by the control log and the relay's L, checked as far as told. */
async function openRoom(
  link: Link,
  transportKey: Uint8Array,
  { joining, checkpoint }: PendingJoin,
) {
  const { code, keys: mine } = joining;
  const { room } = code;
  const { challenge } = link.welcome;
  const proof = makeAttach(room, mine, { transportKey, relayId: code.relayId, challenge });
  await link.ask({ type: "attach", record: proof.envelope });
  const controls = await chainOfRoom(link, room);
  const whole = verifyChain(room, controls);
  const start = checkAdmitted(whole, mine).historyFrom;
  const synced = await link.ask({ type: "sync", room, start, log: undefined });
  if (synced.type !== "synced") throw new LinkLost("the relay answered something else");
  const told = checkpoint?.seq === synced.start - 1 ? checkpoint.log : synced.log;
  if (!equal(told, synced.log)) throw new JoinRejected("bad_chain");
  const state = verifyChain(room, controls, { before: synced.start });
  return { whole, state, start: synced.start, log: synced.log };
}
