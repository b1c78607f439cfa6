/** What this browser learns of its relays' keys, and what its person is told of that. */

import { hex } from "../protocol/bytes.ts";
import type { RelayFrame } from "../protocol/frames.ts";
import { hubOf } from "../protocol/room.ts";
import { followed, type Lineage, TwoSuccessors } from "../themis/index.ts";
import { keepDispute, keepLineage, lineageIn } from "./lineages.ts";
import type { Room } from "./room.ts";
import { type Told, told } from "./told.ts";
import { type Vault, VaultError } from "./vault.ts";

type Frame = Extract<RelayFrame, { type: "successions" }>;

export class RelayKeys {
  private readonly news = new Map<string, Told>();

  constructor(
    private readonly vault: Vault,
    private readonly rooms: ReadonlyMap<string, Room>,
    private readonly changed: () => void,
  ) {}

  /** A relay on a link has proven to have come to its key like this. */
  async proven(relay: Lineage, url: string): Promise<void> {
    const isNews = await this.kept(keepLineage(this.vault, relay));
    if (!isNews || !this.isOfARoom(relay.relayId)) return;
    this.news.set(hex(relay.relayId), told("relay_key_new", url));
    this.changed();
  }

  /** A relay's key has two successors: whoever is in a room of its own hears of it once. */
  async disputed(proof: TwoSuccessors): Promise<void> {
    if (!(await this.kept(keepDispute(this.vault, proof)))) return;
    for (const room of this.rooms.values()) {
      if (hex(room.relayId) === hex(proof.relayId) || isHub(room, proof.relayId)) {
        room.raise(told("relay_key_two", room.hubUrl || room.url));
      }
    }
  }

  /** How the relay of a room came to its key, as one's own relay passes it on. */
  async shown(rooms: readonly Room[], { relay_id, records }: Frame): Promise<void> {
    if (!rooms.some((room) => isHub(room, relay_id))) return;
    try {
      const relay = followed(lineageIn(this.vault)(relay_id), records);
      await this.kept(keepLineage(this.vault, relay));
    } catch (error) {
      if (!(error instanceof TwoSuccessors)) throw error;
      await this.disputed(error);
    }
  }

  newsOf(relayId: Uint8Array): Told {
    return this.news.get(hex(relayId)) ?? "";
  }

  dismiss(relayId: Uint8Array): void {
    this.news.delete(hex(relayId));
    this.changed();
  }

  private isOfARoom(relayId: Uint8Array): boolean {
    const id = hex(relayId);
    return [...this.rooms.values()].some((room) => hex(room.relayId) === id);
  }

  /** A vault that is full or locked keeps nothing new: it is learnt again on the next link. */
  private async kept(keeping: Promise<boolean>): Promise<boolean> {
    try {
      return await keeping;
    } catch (error) {
      if (!(error instanceof VaultError)) throw error;
      return false;
    }
  }
}

const isHub = (room: Room, relayId: Uint8Array): boolean => hex(hubOf(room.state)) === hex(relayId);
