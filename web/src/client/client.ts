/** The client core of the browser: rooms, joins and links over one vault. */

import { makeGenesis } from "../e2e/genesis.ts";
import { newMemberKeys } from "../e2e/keys.ts";
import { displayName } from "../e2e/names.ts";
import { equal, fromUtf8, hex, utf8 } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { hubOf, isRefusal, Refused } from "../protocol/room.ts";
import type { KeyFault } from "../themis/index.ts";
import { type Link, LinkLost, RelayRefused, unlessLost } from "../wire/link.ts";
import { isEvicted, isSamePlace, RoomOver, unlessOver } from "./core.ts";
import type { Survey } from "./forcing.ts";
import { type JoinInfo, Joins } from "./joins.ts";
import { keepChain } from "./journal.ts";
import { lineageIn } from "./lineages.ts";
import type { Place } from "./moving.ts";
import { RelayKeys } from "./relaykeys.ts";
import { type LinkState, type MakeSocket, type Relay, Relays } from "./relays.ts";
import { Room } from "./room.ts";
import { newRoom } from "./saved.ts";
import { ROOMS, saveNewRoom, Tables } from "./tables.ts";
import { type Told, type ToldCode, told } from "./told.ts";
import { Turn, type Vault } from "./vault.ts";

export type { JoinInfo } from "./joins.ts";

const SETTINGS = "settings";
/** What is wrong where another relay than the known one answers. */
const FAULTS = {
  unproven: "other_relay",
  superseded: "relay_key_old",
  two_successors: "relay_key_two",
} as const satisfies Record<KeyFault, ToldCode>;
/** Milliseconds for a relay to take a room in. */
const REACH_MS = 10_000;

export interface ClientOptions {
  readonly makeSocket?: MakeSocket;
}

export interface Founding {
  /** The relay's WebSocket address. */
  readonly url: string;
  readonly name: string;
  readonly myName: string;
  /** What the relay's operator gave out, where not everybody may found rooms there. */
  readonly token?: string;
}

export class Client {
  private readonly rooms = new Map<string, Room>();
  private readonly relays: Relays;
  private readonly joins: Joins;
  private readonly keys: RelayKeys;
  private readonly listeners = new Set<() => void>();
  private closed = false;

  constructor(
    readonly vault: Vault,
    { makeSocket }: ClientOptions = {},
  ) {
    const changed = () => this.changed();
    this.relays = new Relays(
      {
        opened: (relay, link) => this.opened(relay, link),
        lost: (relay) => {
          for (const room of this.roomsAt(relay)) room.detach();
        },
        frame: (relay, frame) => this.receive(relay, frame),
        changed,
        known: lineageIn(vault),
        proven: (relay) => this.keys.proven(relay),
        disputed: (proof) => this.keys.disputed(proof),
      },
      makeSocket,
    );
    this.keys = new RelayKeys(vault, this.rooms, changed, (now) => this.relays.leaveReplaced(now));
    this.joins = new Joins(vault, this.relays, {
      leaving: (id) => this.rooms.get(id)?.close(),
      moves: async (id, records) => this.rooms.get(id)?.learn(records).catch(unlessOver),
      joined: (id, relay, link) => this.adopt(id).attach(link, relay.keys.public),
      changed,
    });
    for (const [id] of vault.items(ROOMS)) this.adopt(id);
  }

  /** Open the links; call it once. */
  start(): void {
    for (const room of this.rooms.values()) {
      if (isEvicted(room.saved))
        this.relays.at(room.url, room.relayId); // that may be void by now
      else if (room.saved.status !== "removed") void this.begin(room).catch(unlessHindered);
    }
    this.joins.start();
  }

  /** Connect a room to its relay; what was under way when the page was closed goes on. */
  private async begin(room: Room): Promise<void> {
    const { moving } = room.saved;
    this.relays.at(room.url, room.relayId);
    await room.settleHome();
    // It waits for the relay so far: that nobody is online now is no reason to forget where it is.
    if (moving !== undefined) await room.moveHome(moving);
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
    return this.joins.all();
  }

  /** How a room's relay is reached. */
  stateOf({ url, relayId }: Room): LinkState {
    return this.relays.stateOf(url, relayId);
  }

  /** Why a room's relay is not reached; "" where the network may be all that is wrong. */
  troubleOf({ url, relayId }: Room): Told {
    const fault = this.relays.faultOf(url, relayId);
    return fault === undefined ? "" : told(FAULTS[fault], url);
  }

  /** What is new of a room's relay, and asks for nothing; "" nothing. */
  newsOf(room: Room): Told {
    return this.keys.newsOf(room);
  }

  /** Its person has read it. */
  dismissNews(room: Room): Promise<void> {
    return this.keys.dismissNews(room);
  }

  /** What its person has to look after, in a room and of its relays. */
  alarmsOf(room: Room): readonly Told[] {
    return [...room.alarms, ...this.keys.alarmsOf(room)];
  }

  /** Its person has read that one. */
  async dismissAlarm(room: Room, alarm: Told): Promise<void> {
    if (room.alarms.includes(alarm)) await room.dismissAlarm(alarm);
    else await this.keys.dismissAlarm(room, alarm);
  }

  /** The network is back, or a person is impatient: try all relays now. */
  retryNow(): void {
    this.relays.retryNow();
  }

  /** The device may have slept: are the links still what they seem? */
  wake(): void {
    this.relays.retryNow();
    const probed = new Set<string>();
    for (const room of this.rooms.values()) {
      const relay = `${hex(room.relayId)} ${room.url}`;
      if (!room.isLive || probed.has(relay)) continue;
      probed.add(relay);
      room.probe();
    }
  }

  /** A setting of this browser's person; "" where it was never made. */
  setting(name: string): string {
    const raw = this.vault.get(SETTINGS, name);
    return raw === undefined ? "" : fromUtf8(raw);
  }

  async set(name: string, value: string): Promise<void> {
    const turn = new Turn(this.vault);
    turn.put(SETTINGS, name, utf8(value));
    await this.vault.commit(turn);
    this.changed();
  }

  /**
   * Found a room; it is in the vault before the relay hears of it, and sent as often as it takes.
   * Rejects with `LinkLost` or `OtherRelay` if the relay's id can not be learned. Resolves to the room's id.
   */
  async create({ url, name, myName, token = "" }: Founding): Promise<string> {
    const relayId = await this.relays.idOf(url);
    const { signed, view } = makeGenesis(newMemberKeys(), relayId, Date.now());
    const { room } = view.state;
    const id = hex(room);
    const turn = new Turn(this.vault);
    const saved = newRoom({
      room,
      url,
      relayId,
      name: displayName(name),
      myName: displayName(myName),
      genesis: signed.envelope,
      createToken: token,
    });
    saveNewRoom(turn, saved, view);
    keepChain(turn, new Tables(id), [[0, signed.envelope]]);
    await this.vault.commit(turn);
    const made = this.adopt(id);
    await made.send({ type: "room", name: saved.name, topic: "" });
    const relay = this.relays.at(url, relayId);
    if (relay.link !== undefined)
      await made.attach(relay.link, relay.keys.public).catch(unlessLost);
    return id;
  }

  /** Begin to join by an invite link: see `Joins.join`. */
  async join(text: string, name: string, via = ""): Promise<string> {
    try {
      return await this.joins.join(text, name, via);
    } catch (error) {
      this.dropUnused(); // nothing has begun: that relay is nobody's
      throw error;
    }
  }

  /** Give a join up. */
  async cancelJoin(id: string): Promise<void> {
    await this.joins.cancel(id);
    this.dropUnused();
  }

  /**
   * Be at home at another relay from now on, in one room, and stay the same member there; at `url` it
   * has to be the one whose id is `pinned`, if that is given. Where the relay so far is gone, the room's own is asked. Rejects with `LinkLost`, `OtherRelay`, `Refused`,
   * `RelayRefused` or `RoomOver`; resolves to whether the new relay has let it in by now.
   */
  async moveHome(id: string, url: string, pinned?: Uint8Array): Promise<boolean> {
    const room = this.here(id);
    const hub = hubOf(room.state);
    const isHub = url === room.hubUrl && (pinned === undefined || equal(pinned, hub));
    const relayId = isHub ? hub : await this.relays.idOf(url, pinned);
    return this.moveTo(room, { url, relayId });
  }

  /**
   * Have another relay order one's room: root's alone to say. Root is at home there first, if nobody
   * is, since the new hub needs the room's copy. Rejects as `moveHome`; resolves to whether the room
   * is live by now.
   */
  async moveHub(id: string, url: string, pinned?: Uint8Array): Promise<boolean> {
    const room = this.here(id);
    const relayId = await this.relays.idOf(url, pinned);
    if (!room.mayMoveHub) throw new Refused("forbidden");
    const homes = [...room.state.members.values()].map(({ home }) => home);
    const isFollowed = homes.some((home) => equal(home, relayId));
    if (isFollowed) await this.reach(room);
    else if (!(await this.moveTo(room, { url, relayId }))) {
      throw new LinkLost("that relay has not let its first member in");
    }
    await room.moveHub({ url, relayId });
    return room.isLiveWithin(REACH_MS);
  }

  /**
   * For root, where the room's own relay is gone for good: what would be lost if it went on from the
   * copy of the relay at `url`. Rejects with `NotMoved`, `Refused`, `LinkLost`, `OtherRelay`.
   */
  async surveyHub(id: string, url: string, pinned?: Uint8Array): Promise<Survey> {
    const room = this.here(id);
    const relayId = await this.relays.idOf(url, pinned);
    if (!room.mayForceHub) throw new Refused("forbidden");
    return room.surveyHub({ url, relayId });
  }

  /** Have it go on there, the relay so far unasked: see `forceHub` of forcing.ts. */
  forceHub(id: string, found: Survey): Promise<void> {
    return this.here(id).forceHub(found);
  }

  private here(id: string): Room {
    const room = this.rooms.get(id);
    if (room === undefined) throw new RoomOver("the room is not here");
    return room;
  }

  private async moveTo(room: Room, home: Place): Promise<boolean> {
    try {
      await this.reach(room);
    } catch (error) {
      if (!(error instanceof LinkLost)) throw error;
      // Root may have moved the room there, and nobody here could be told of it.
      await room.tryAt(home, async () => {
        if (!(await room.isLiveWithin(REACH_MS))) throw error;
      });
    }
    await room.moveHome(home);
    return room.isLiveWithin(REACH_MS);
  }

  /** Have a room live: at its relay, or, where that is gone, straight at the room's own. */
  private async reach(room: Room): Promise<void> {
    this.relays.retryNow();
    if (await room.isLiveWithin(REACH_MS)) return;
    if (room.isAway) await room.goToHub();
    if (!(await room.isLiveWithin(REACH_MS))) throw new LinkLost("no relay of the room is there");
  }

  /** Lock: close links and vault; settled once what was under way is written. */
  close(): Promise<void> {
    this.closed = true;
    for (const room of this.rooms.values()) room.close();
    this.joins.close();
    this.relays.close();
    return this.vault.close();
  }

  private async opened(relay: Relay, link: Link): Promise<void> {
    await Promise.all([
      ...this.roomsAt(relay).map((room) => room.attach(link, relay.keys.public)),
      this.joins.opened(relay, link),
    ]);
  }

  private roomsAt(relay: Relay): Room[] {
    return this.allRooms().filter((room) => isSamePlace(room, relay));
  }

  private receive(relay: Relay, frame: RelayFrame): void {
    if (frame.type === "successions") {
      const kept = this.keys.shown(relay, frame);
      // What comes after it may be judged by it.
      for (const room of this.roomsAt(relay)) void room.goOnAfter(kept).catch(unlessOver);
    }
    if (!("room" in frame)) return;
    const id = hex(frame.room);
    const isOfJoin = frame.type === "join_answer" || frame.type === "join_status";
    if (!isOfJoin) this.roomAt(relay, id)?.receive(frame);
    else if (relay.link !== undefined) void this.joins.moved(relay.link, id, frame);
  }

  /** A room, if it is reached by this relay: no other one has a say in it. */
  private roomAt(relay: Relay, id: string): Room | undefined {
    return this.roomsAt(relay).find((room) => room.id === id);
  }

  /** A room is reached at another relay from now on. */
  private moved(id: string): void {
    const room = this.rooms.get(id);
    if (room === undefined || this.closed) return;
    room.leaveLink();
    const relay = this.relays.at(room.url, room.relayId);
    if (relay.link !== undefined) {
      void room.attach(relay.link, relay.keys.public).catch(unlessLost);
    }
    this.dropUnused();
  }

  private dropUnused(): void {
    this.relays.keepOnly((relay) => this.roomsAt(relay).length > 0 || this.joins.uses(relay));
  }

  private adopt(id: string): Room {
    this.rooms.get(id)?.close(); // joined anew: it must not write any more
    const room = new Room(this.vault, id, () => this.changed(), {
      moved: () => this.moved(id),
      hubMoved: () => this.keys.hubMoved(),
    });
    this.rooms.set(id, room);
    this.changed();
    return room;
  }

  private changed(): void {
    if (this.closed) return;
    for (const listener of [...this.listeners]) listener();
  }
}

/** For a move that goes on by itself: its person can ask for it again. */
function unlessHindered(error: unknown): void {
  const isHindrance =
    isRefusal(error) ||
    error instanceof RelayRefused ||
    error instanceof RoomOver ||
    error instanceof LinkLost;
  if (!isHindrance) throw error;
}
