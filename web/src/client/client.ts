/**
 * The client core of the browser: rooms, joins and links over one vault.
 *
 * It keeps a link to each relay it has rooms at, opened anew with growing pauses when it is lost and
 * at once when the browser is online again.
 */

import { verifyChain } from "../e2e/chain.ts";
import { makeAttach } from "../e2e/controls.ts";
import { parseLink } from "../e2e/invites.ts";
import { checkAdmitted, checkResponse, JoinRejected, makeRequest } from "../e2e/joining.ts";
import { resumedLog } from "../e2e/log.ts";
import { displayName } from "../e2e/names.ts";
import { equal, hex } from "../protocol/bytes.ts";
import { NO_HUB, type RelayFrame } from "../protocol/frames.ts";
import { generateKeyPair, type KeyPair } from "../themis/index.ts";
import { Link, LinkLost, RelayRefused, type Request, type SocketLike } from "../wire/link.ts";
import { chainOfInvite, chainOfRoom } from "./chainpages.ts";
import { ROOMS, Room, saveNewRoom } from "./room.ts";
import { json, type PendingJoin, savedJoin, savedKeyPair } from "./saved.ts";
import { Turn, type Vault } from "./vault.ts";

const JOINS = "joins";
const RELAYS = "relays";
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

/** How a join stands, for its person. */
export interface JoinInfo {
  /** The room's id in hex. */
  readonly room: string;
  readonly state: "asking" | "waiting" | "failed";
  /** Why it failed; "" else. */
  readonly reason: string;
}

type LinkState = "connecting" | "online" | "offline";

interface Relay {
  readonly url: string;
  readonly relayId: Uint8Array;
  readonly keys: KeyPair;
  link: Link | undefined;
  state: LinkState;
  pause: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

export interface ClientOptions {
  readonly makeSocket?: (url: string) => SocketLike;
}

export class Client {
  private readonly rooms = new Map<string, Room>();
  private readonly joins = new Map<string, { pending: PendingJoin; info: JoinInfo }>();
  private readonly relays = new Map<string, Relay>();
  private readonly listeners = new Set<() => void>();
  private closed = false;

  constructor(
    readonly vault: Vault,
    private readonly options: ClientOptions = {},
  ) {
    for (const [id] of vault.items(ROOMS)) this.adopt(id);
    for (const [id, raw] of vault.items(JOINS)) {
      this.joins.set(id, { pending: savedJoin.read(raw), info: asking(id) });
    }
  }

  /** Open the links; call it once. */
  start(): void {
    for (const { url, relayId } of this.rooms.values()) this.relayAt(url, relayId);
    for (const { pending } of this.joins.values()) {
      this.relayAt(pending.joining.code.relayUrl, pending.joining.code.relayId);
    }
  }

  /** Called after every change that a person could see; returns how to stop that. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  room(id: string): Room | undefined {
    return this.rooms.get(id);
  }

  allRooms(): Room[] {
    return [...this.rooms.values()];
  }

  pendingJoins(): JoinInfo[] {
    return [...this.joins.values()].map(({ info }) => info);
  }

  stateOf(url: string): LinkState {
    return this.relays.get(url)?.state ?? "offline";
  }

  /** The network is back, or a person is impatient: try all relays now. */
  retryNow(): void {
    for (const relay of this.relays.values()) {
      if (relay.link === undefined && relay.timer !== undefined) this.connect(relay);
    }
  }

  /**
   * Begin to join by an invite link; it goes on by itself, also after a reload, until someone who
   * may admit has been online. Throws `LinkInvalid`; rejects with `RelayRefused`, `JoinRejected` or
   * `LinkLost`, and then nothing has begun. Resolves to the room's id.
   */
  async join(text: string, name: string): Promise<string> {
    const code = parseLink(text);
    const id = hex(code.room);
    if (this.joins.has(id)) return id;
    const relay = this.relayAt(code.relayUrl, code.relayId);
    const link = await this.linkTo(relay);
    const state = verifyChain(code.room, await chainOfInvite(link, code));
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
  async cancelJoin(id: string): Promise<void> {
    this.joins.delete(id);
    const turn = new Turn(this.vault);
    turn.delete(JOINS, id);
    await this.vault.commit(turn);
    this.changed();
  }

  /** Lock: close links and vault. */
  close(): void {
    this.closed = true;
    for (const relay of this.relays.values()) {
      clearTimeout(relay.timer);
      relay.link?.close();
    }
    this.vault.close();
  }

  // -- links -----------------------------------------------------------------------------------

  private relayAt(url: string, relayId: Uint8Array): Relay {
    const known = this.relays.get(url);
    if (known !== undefined && equal(known.relayId, relayId)) return known;
    const relay: Relay = {
      url,
      relayId,
      keys: this.transportKeys(hex(relayId)),
      link: undefined,
      state: "connecting",
      pause: FIRST_PAUSE_MS,
      timer: undefined,
    };
    this.relays.set(url, relay);
    this.connect(relay);
    return relay;
  }

  /** One pair for each relay, so that two relays can not tell that it is the same browser. */
  private transportKeys(relayId: string): KeyPair {
    const raw = this.vault.get(RELAYS, relayId);
    if (raw !== undefined) return savedKeyPair.read(raw);
    const made = generateKeyPair();
    const turn = new Turn(this.vault);
    turn.put(RELAYS, relayId, savedKeyPair.write(made));
    void this.vault.commit(turn);
    return made;
  }

  private connect(relay: Relay): void {
    clearTimeout(relay.timer);
    relay.timer = undefined;
    relay.state = "connecting";
    this.changed();
    void this.open(relay).catch((error: unknown) => {
      if (!(error instanceof LinkLost)) throw error;
      this.lost(relay);
    });
  }

  private async open(relay: Relay): Promise<void> {
    const link = await Link.open({
      url: relay.url,
      keys: relay.keys,
      pin: relay.relayId,
      onFrame: (frame) => this.receive(relay, frame),
      ...(this.options.makeSocket && { makeSocket: this.options.makeSocket }),
    });
    if (this.closed) {
      link.close();
      return;
    }
    relay.link = link;
    relay.state = "online";
    relay.pause = FIRST_PAUSE_MS;
    this.changed();
    void link.closed.then(() => this.lost(relay));
    await Promise.all([
      ...this.roomsAt(relay).map((room) => room.attach(link, relay.keys.public)),
      ...this.joinsAt(relay).map((id) => this.ask(link, id)),
    ]);
  }

  private lost(relay: Relay): void {
    if (relay.timer !== undefined || this.closed) return;
    relay.link = undefined;
    relay.state = "offline";
    for (const room of this.roomsAt(relay)) room.detach();
    relay.timer = setTimeout(() => this.connect(relay), relay.pause * (0.5 + Math.random()));
    relay.pause = Math.min(relay.pause * 2, LONGEST_PAUSE_MS);
    this.changed();
  }

  private async linkTo(relay: Relay): Promise<Link> {
    while (relay.link === undefined) {
      if (relay.state === "offline") throw new LinkLost("the relay can not be reached");
      await new Promise<void>((resolve) => {
        const stop = this.subscribe(() => {
          stop();
          resolve();
        });
      });
    }
    return relay.link;
  }

  private roomsAt(relay: Relay): Room[] {
    return this.allRooms().filter((room) => room.url === relay.url);
  }

  private joinsAt(relay: Relay): string[] {
    return [...this.joins]
      .filter(([, { pending }]) => pending.joining.code.relayUrl === relay.url)
      .map(([id]) => id);
  }

  private receive(relay: Relay, frame: RelayFrame): void {
    if (!("room" in frame)) return;
    const id = hex(frame.room);
    const room = this.rooms.get(id);
    if (room !== undefined) room.receive(frame);
    else if (relay.link !== undefined) void this.joinMoved(relay.link, id, frame);
  }

  // -- joins -----------------------------------------------------------------------------------

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

  private async joinMoved(link: Link, id: string, frame: RelayFrame): Promise<void> {
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
    const join = this.joins.get(id);
    const relay = [...this.relays.values()].find((one) => one.link === link);
    if (join?.pending.keys === undefined || relay === undefined) return;
    const { pending } = join;
    const { code, keys: mine } = pending.joining;
    const opened = await openRoom(link, relay.keys.public, pending);
    const me = checkAdmitted(opened.whole, mine);
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
    await this.adopt(id).attach(link, relay.keys.public);
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
    this.changed();
  }

  private note(id: string, info: JoinInfo): void {
    const join = this.joins.get(id);
    if (join === undefined) return;
    this.joins.set(id, { ...join, info });
    this.changed();
  }

  private adopt(id: string): Room {
    const room = new Room(this.vault, id, () => this.changed());
    this.rooms.set(id, room);
    this.changed();
    return room;
  }

  private changed(): void {
    for (const listener of [...this.listeners]) listener();
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
