/**
 * A link to each relay this browser has rooms at: opened anew with growing pauses when it is lost,
 * and at once when the browser is online again.
 */

import { equal, hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import {
  generateKeyPair,
  isCurrent,
  type KeyFault,
  type KeyPair,
  type Lineage,
  NotItsKey,
  TwoSuccessors,
} from "../themis/index.ts";
import { Link, LinkLost, type SocketLike } from "../wire/link.ts";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;
/** After so long a link counts as a success: one that breaks at once is no better than none. */
const STEADY_MS = 10_000;

export type LinkState = "connecting" | "online" | "offline";

/** Another relay than the one that is known answers at an address. */
export class OtherRelay extends Error {
  override readonly name = "OtherRelay";

  /** `isPinned`: it is not the one whose id its person gave. */
  constructor(
    readonly url: string,
    readonly isPinned = false,
  ) {
    super(
      `another relay answers at ${url} than the one known there: whoever runs it has changed its ` +
        "key, or somebody stands in its place; ask them, over another way",
    );
  }
}

export interface Relay {
  readonly url: string;
  readonly relayId: Uint8Array;
  /** A new pair for each link: only the rooms' own keys connect one link with another. */
  keys: KeyPair;
  link: Link | undefined;
  state: LinkState;
  /** Another relay than the known one answers there: how that shows. */
  fault: KeyFault | undefined;
  pause: number;
  openedAt: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

export interface RelayListeners {
  opened(relay: Relay, link: Link): Promise<void>;
  lost(relay: Relay): void;
  frame(relay: Relay, frame: RelayFrame): void;
  changed(): void;
  /** What is known of a relay's keys. */
  known(relayId: Uint8Array): Lineage;
  /**
   * It has proven to have come to its key like this: to be kept before it is talked to. Rejects with
   * `NotItsKey` if it is not what is known by then.
   */
  proven(relay: Lineage): Promise<void>;
  /** Another key claims to follow its old one, and proves it. */
  disputed(proof: TwoSuccessors): Promise<void>;
}

export type MakeSocket = (url: string) => SocketLike;

export class Relays {
  /** By address and id: what a relay is, its key says. */
  private readonly relays = new Map<string, Relay>();
  private readonly watchers = new Set<() => void>();
  private closed = false;

  constructor(
    private readonly listeners: RelayListeners,
    private readonly makeSocket?: MakeSocket,
  ) {}

  /** The relay of this id at this address, connected to from now on. */
  at(url: string, relayId: Uint8Array): Relay {
    const place = placeOf(url, relayId);
    const known = this.relays.get(place);
    if (known !== undefined) return known;
    const relay: Relay = {
      url,
      relayId,
      keys: generateKeyPair(),
      link: undefined,
      state: "connecting",
      fault: undefined,
      pause: FIRST_PAUSE_MS,
      openedAt: 0,
      timer: undefined,
    };
    this.relays.set(place, relay);
    this.connect(relay);
    return relay;
  }

  stateOf(url: string, relayId: Uint8Array): LinkState {
    return this.relays.get(placeOf(url, relayId))?.state ?? "offline";
  }

  /** How it shows that another relay than the known one answers there, where one does. */
  faultOf(url: string, relayId: Uint8Array): KeyFault | undefined {
    return this.relays.get(placeOf(url, relayId))?.fault;
  }

  ofLink(link: Link): Relay | undefined {
    return [...this.relays.values()].find((one) => one.link === link);
  }

  /**
   * The id of the relay that answers at this address: it has to be `pinned`, if that is given; else the
   * first one is trusted, since nothing is known of it. Rejects with `LinkLost`, and with `OtherRelay`
   * if it is another one, none of those known there, or shows another key than is known of it.
   */
  async idOf(url: string, pinned?: Uint8Array): Promise<Uint8Array> {
    const known = [...this.relays.values()].filter(
      (relay) => relay.url === url && (pinned === undefined || equal(relay.relayId, pinned)),
    );
    const online = known.find(({ link }) => link !== undefined);
    if (online !== undefined) return online.relayId;
    const link = await this.openAt(url, pinned);
    const { relayId } = link.relay;
    try {
      await this.hold(link); // before there is a room: to who comes now, none of its keys is new
    } catch (error) {
      if (!(error instanceof LinkLost)) throw error;
      this.refused(error);
      throw new OtherRelay(url);
    }
    link.close();
    const isKnown = known.some((relay) => equal(relay.relayId, relayId));
    if (known.length > 0 && !isKnown) throw new OtherRelay(url);
    return relayId;
  }

  private async openAt(url: string, pinned: Uint8Array | undefined): Promise<Link> {
    try {
      return await Link.open({
        url,
        keys: generateKeyPair(),
        known: pinned && this.listeners.known(pinned),
        onFrame: () => undefined,
        ...(this.makeSocket && { makeSocket: this.makeSocket }),
      });
    } catch (error) {
      if (!(error instanceof LinkLost) || error.fault === undefined) throw error;
      this.refused(error);
      throw new OtherRelay(url, pinned !== undefined);
    }
  }

  /** No link goes on by a key that this relay is known to have replaced. */
  leaveReplaced(now: Lineage): void {
    for (const { relayId, link } of this.relays.values()) {
      if (link && equal(relayId, now.relayId) && !isCurrent(now, link.relayKey)) link.close();
    }
  }

  /** Connect no more to those that nobody needs. */
  keepOnly(isNeeded: (relay: Relay) => boolean): void {
    for (const [place, relay] of this.relays) {
      if (isNeeded(relay)) continue;
      this.relays.delete(place);
      clearTimeout(relay.timer);
      relay.link?.close();
    }
    this.changed();
  }

  /** The relay's link, once it is open; rejects with `LinkLost` if it can not be reached. */
  async linkTo(relay: Relay): Promise<Link> {
    if (relay.timer !== undefined) this.connect(relay); // a person waits
    while (relay.link === undefined) {
      if (!this.isWanted(relay)) throw new LinkLost("the relay is not needed any more");
      if (relay.state === "offline") {
        throw relay.fault ? new OtherRelay(relay.url) : new LinkLost("the relay is away");
      }
      await new Promise<void>((resolve) => {
        this.watchers.add(resolve);
      });
    }
    return relay.link;
  }

  /** The network is back, or a person is impatient: try all relays now. */
  retryNow(): void {
    for (const relay of this.relays.values()) {
      if (relay.link === undefined && relay.timer !== undefined) this.connect(relay);
    }
  }

  close(): void {
    this.closed = true;
    for (const relay of this.relays.values()) {
      clearTimeout(relay.timer);
      relay.link?.close();
    }
  }

  private connect(relay: Relay): void {
    clearTimeout(relay.timer);
    relay.timer = undefined;
    relay.state = "connecting";
    this.changed();
    void this.open(relay).catch((error: unknown) => {
      if (!(error instanceof LinkLost)) throw error;
      if (error.fault !== undefined) relay.fault = error.fault;
      this.refused(error);
      this.lost(relay, undefined);
    });
  }

  private refused({ cause }: LinkLost): void {
    if (cause instanceof TwoSuccessors) void this.listeners.disputed(cause);
  }

  /** It has verified what was known when it was opened: is that so still? Rejects with `LinkLost`. */
  private async hold(link: Link): Promise<void> {
    try {
      await this.listeners.proven(link.relay);
    } catch (error) {
      link.close();
      if (!(error instanceof NotItsKey)) throw error;
      throw new LinkLost("it is not the relay that it was", { cause: error, fault: error.fault });
    }
  }

  private async open(relay: Relay): Promise<void> {
    relay.keys = generateKeyPair();
    let opened: Link | undefined;
    const link = await Link.open({
      url: relay.url,
      keys: relay.keys,
      known: this.listeners.known(relay.relayId),
      onFrame: (frame) => {
        // Before that nobody has asked; and of a link that was given up nobody wants to hear.
        if (opened !== undefined && relay.link === opened) this.listeners.frame(relay, frame);
      },
      ...(this.makeSocket && { makeSocket: this.makeSocket }),
    });
    await this.hold(link);
    if (!this.isWanted(relay)) {
      link.close();
      return;
    }
    opened = link;
    relay.link = link;
    relay.state = "online";
    relay.fault = undefined;
    relay.openedAt = Date.now();
    this.changed();
    void link.closed.then(() => this.lost(relay, link));
    try {
      await this.listeners.opened(relay, link);
    } catch (error) {
      if (!(error instanceof LinkLost)) throw error;
      this.lost(relay, link);
    }
  }

  /** This link is over, or of no use; undefined: none was opened. */
  private lost(relay: Relay, link: Link | undefined): void {
    link?.close();
    if (relay.link !== link || relay.timer !== undefined || !this.isWanted(relay)) return;
    const wasOpen = relay.link !== undefined;
    if (wasOpen && Date.now() - relay.openedAt >= STEADY_MS) relay.pause = FIRST_PAUSE_MS;
    relay.link = undefined;
    relay.state = "offline";
    this.listeners.lost(relay);
    relay.timer = setTimeout(() => this.connect(relay), relay.pause * (0.5 + Math.random()));
    relay.pause = Math.min(relay.pause * 2, LONGEST_PAUSE_MS);
    this.changed();
  }

  private isWanted(relay: Relay): boolean {
    return !this.closed && this.relays.get(placeOf(relay.url, relay.relayId)) === relay;
  }

  private changed(): void {
    const watchers = [...this.watchers];
    this.watchers.clear();
    for (const watcher of watchers) watcher();
    this.listeners.changed();
  }
}

const placeOf = (url: string, relayId: Uint8Array) => `${hex(relayId)} ${url}`;
