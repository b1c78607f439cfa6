/**
 * A link to each relay this browser has rooms at: opened anew with growing pauses when it is lost,
 * and at once when the browser is online again.
 */

import { equal, hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { generateKeyPair, type KeyPair } from "../themis/index.ts";
import { Link, LinkLost, type SocketLike } from "../wire/link.ts";
import { savedKeyPair } from "./saved.ts";
import { Turn, type Vault } from "./vault.ts";

const RELAYS = "relays";
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

export type LinkState = "connecting" | "online" | "offline";

export interface Relay {
  readonly url: string;
  readonly relayId: Uint8Array;
  readonly keys: KeyPair;
  link: Link | undefined;
  state: LinkState;
  pause: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

export interface RelayListeners {
  opened(relay: Relay, link: Link): Promise<void>;
  lost(relay: Relay): void;
  frame(relay: Relay, frame: RelayFrame): void;
  changed(): void;
}

export type MakeSocket = (url: string) => SocketLike;

export class Relays {
  private readonly relays = new Map<string, Relay>();
  private readonly watchers = new Set<() => void>();
  private closed = false;

  constructor(
    private readonly vault: Vault,
    private readonly listeners: RelayListeners,
    private readonly makeSocket?: MakeSocket,
  ) {}

  /** The relay of this id at this address, connected to from now on. */
  at(url: string, relayId: Uint8Array): Relay {
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

  stateOf(url: string): LinkState {
    return this.relays.get(url)?.state ?? "offline";
  }

  ofLink(link: Link): Relay | undefined {
    return [...this.relays.values()].find((one) => one.link === link);
  }

  /** The id of the relay that answers at this address: trusted, since nothing is known of it. */
  async idOf(url: string): Promise<Uint8Array> {
    const known = this.relays.get(url);
    if (known !== undefined) return known.relayId;
    const link = await Link.open({
      url,
      keys: generateKeyPair(),
      pin: undefined,
      onFrame: () => undefined,
      ...(this.makeSocket && { makeSocket: this.makeSocket }),
    });
    const { relayId } = link;
    link.close();
    return relayId;
  }

  /** The relay's link, once it is open; rejects with `LinkLost` if it can not be reached. */
  async linkTo(relay: Relay): Promise<Link> {
    while (relay.link === undefined) {
      if (relay.state === "offline") throw new LinkLost("the relay can not be reached");
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
      onFrame: (frame) => this.listeners.frame(relay, frame),
      ...(this.makeSocket && { makeSocket: this.makeSocket }),
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
    await this.listeners.opened(relay, link);
  }

  private lost(relay: Relay): void {
    if (relay.timer !== undefined || this.closed) return;
    relay.link = undefined;
    relay.state = "offline";
    this.listeners.lost(relay);
    relay.timer = setTimeout(() => this.connect(relay), relay.pause * (0.5 + Math.random()));
    relay.pause = Math.min(relay.pause * 2, LONGEST_PAUSE_MS);
    this.changed();
  }

  private changed(): void {
    const watchers = [...this.watchers];
    this.watchers.clear();
    for (const watcher of watchers) watcher();
    this.listeners.changed();
  }
}
