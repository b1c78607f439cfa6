/**
 * Members that are one person's devices (ofcd/client/aliases.py): shown as such once both have said
 * so. It grants nothing.
 */

import type { Content } from "../e2e/bodies.ts";
import { hex } from "../protocol/bytes.ts";
import type { Draft, RoomCore } from "./core.ts";
import { json } from "./saved.ts";
import type { Turn } from "./vault.ts";

/** Members that one member may name: more devices than a person has. */
const NAMED = 16;

export class Aliases {
  constructor(private readonly core: RoomCore) {}

  /** The current members that are the same person as `mid`: each has named the other. In hex. */
  sameAs(mid: string): string[] {
    const { members } = this.core.view.state;
    return this.named(this.core.vault, mid).filter(
      (one) => members.has(one) && this.says(one, mid),
    );
  }

  /** Whether `one` says that `other` is the same person. */
  says(one: string, other: string): boolean {
    return this.named(this.core.vault, one).includes(other);
  }

  /** `sender` has said so. */
  heard({ turn }: Draft, sender: string, said: Extract<Content, { type: "alias" }>): void {
    const member = hex(said.member);
    const others = this.named(turn, sender).filter((one) => one !== member);
    if (member === sender || (!said.removed && others.length >= NAMED)) return;
    const named = said.removed ? others : [...others, member];
    turn.put(this.core.tables.aliases, sender, json.write(named));
  }

  private named(from: Pick<Turn, "get">, mid: string): readonly string[] {
    const raw = from.get(this.core.tables.aliases, mid);
    return raw === undefined ? [] : json.read<readonly string[]>(raw);
  }
}
