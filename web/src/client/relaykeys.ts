/** What this browser learns of its relays' keys, and what its person is told of that. */

import { equal } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { hubOf, isRefusal } from "../protocol/room.ts";
import { followed, type Lineage, merged, NotItsKey, TwoSuccessors } from "../themis/index.ts";
import type { Link } from "../wire/link.ts";
import { isSamePlace } from "./core.ts";
import { Lineages, lineageIn, unreadOf } from "./lineages.ts";
import type { Relay } from "./relays.ts";
import type { Room } from "./room.ts";
import { type Told, told } from "./told.ts";
import type { Vault } from "./vault.ts";

type Frame = Extract<RelayFrame, { type: "successions" }>;
/** The relay on a link that something came by. */
type Shower = Pick<Relay, "url" | "relayId" | "link">;

/** Frames of one relay's about relays that order no room there yet, so far as is read: up to 8 KiB each. */
const UNCLAIMED = 16;

/** `replaced` is called once a relay is known to have another key now. */
export class RelayKeys {
  private readonly lineages: Lineages;
  /** By the link that they came by, the oldest first; by the next one they come again. */
  private readonly unclaimed = new Map<Link, { readonly by: Shower; readonly frames: Frame[] }>();

  constructor(
    private readonly vault: Vault,
    private readonly rooms: ReadonlyMap<string, Room>,
    private readonly changed: () => void,
    private readonly replaced: (now: Lineage) => void = () => undefined,
  ) {
    this.lineages = new Lineages(vault);
  }

  /** A relay on a link has proven to have come to its key like this. Rejects as `merged` throws. */
  proven(relay: Lineage): Promise<void> {
    return this.grow(relay.relayId, (known) => merged(known, relay));
  }

  /** A relay's key has two successors: whoever is in a room of its own has it to read. */
  async disputed(proof: TwoSuccessors): Promise<void> {
    if (await this.lineages.dispute(proof)) this.changed();
  }

  /** How the relay of a room came to its key, as one's own relay passes it on. */
  async shown(by: Shower, frame: Frame): Promise<void> {
    if (!this.ordersARoomAt(by, frame.relay_id)) {
      this.hold(by, frame);
      return;
    }
    try {
      await this.grow(frame.relay_id, (known) => followed(known, frame.records));
    } catch (error) {
      if (error instanceof TwoSuccessors) await this.disputed(error);
      else if (isRefusal(error) || error instanceof NotItsKey) {
        by.link?.close(); // an honest relay has verified what it passes on
      } else throw error;
    }
  }

  /** A room has moved: what was shown before that was read may be of the relay that orders it now. */
  async hubMoved(): Promise<void> {
    const all = [...this.unclaimed.values()];
    this.unclaimed.clear();
    for (const { by, frames } of all) {
      for (const frame of frames) await this.shown(by, frame);
    }
  }

  /** What is new of a room's relay, and asks for nothing; "" nothing. */
  newsOf({ relayId, url }: Room): Told {
    return unreadOf(this.vault, relayId).isNew ? told("relay_key_new", url) : "";
  }

  /** What its person has to look after. */
  alarmsOf(room: Room): Told[] {
    return [...new Set(this.disputedOf(room).map(alarmAt))];
  }

  async dismissNews({ relayId }: Room): Promise<void> {
    await this.lineages.read(relayId, { isNew: false });
    this.changed();
  }

  /** Its person has read that one. */
  async dismissAlarm(room: Room, alarm: Told): Promise<void> {
    const disputed = this.disputedOf(room).find((one) => alarmAt(one) === alarm);
    if (disputed === undefined) return;
    await this.lineages.read(disputed.id, { isBranchRead: true });
    this.changed();
  }

  private disputedOf(room: Room) {
    return relaysOf(room).filter(({ id }) => unreadOf(this.vault, id).isDisputed);
  }

  private async grow(relayId: Uint8Array, act: (known: Lineage) => Lineage): Promise<void> {
    const isKnown = () => [...this.rooms.values()].some((room) => equal(room.relayId, relayId));
    if (!(await this.lineages.grow(relayId, act, isKnown))) return;
    this.replaced(lineageIn(this.vault)(relayId));
    this.changed();
  }

  private ordersARoomAt(by: Shower, relayId: Uint8Array): boolean {
    return [...this.rooms.values()].some(
      (room) => isSamePlace(room, by) && equal(hubOf(room.state), relayId),
    );
  }

  private hold(by: Shower, frame: Frame): void {
    const { link } = by;
    if (link === undefined) return;
    const held = this.unclaimed.get(link);
    if (held === undefined) void link.closed.then(() => this.unclaimed.delete(link));
    this.unclaimed.set(link, { by, frames: [...(held?.frames ?? []), frame].slice(-UNCLAIMED) });
  }
}

const alarmAt = ({ url }: { readonly url: string }): Told => told("relay_key_two", url);

/** The relay where its member is at home, and the one that orders it. */
const relaysOf = (room: Room) => [
  { id: room.relayId, url: room.url },
  { id: hubOf(room.state), url: room.hubUrl },
];
