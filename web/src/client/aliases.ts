/**
 * Members that are one person's devices (ofcd/client/aliases.py): shown as such once both have said
 * so. It grants nothing.
 */

import type { Content } from "../e2e/bodies.ts";
import { hex } from "../protocol/bytes.ts";
import type { Draft, RoomCore } from "./core.ts";
import { json } from "./saved.ts";
import type { Tables } from "./tables.ts";
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
    say(turn, this.core.tables, sender, hex(said.member), !said.removed);
  }

  private named(from: Pick<Turn, "get">, mid: string): readonly string[] {
    return namedBy(from, this.core.tables, mid);
  }
}

/** Whom a member says to be too, in hex. */
export function namedBy(
  from: Pick<Turn, "get">,
  { aliases }: Tables,
  mid: string,
): readonly string[] {
  const raw = from.get(aliases, mid);
  return raw === undefined ? [] : json.read<readonly string[]>(raw);
}

/** `sender` says to be `member` too, or (`is` false) no longer. In hex. */
export function say(turn: Turn, tables: Tables, sender: string, member: string, is: boolean): void {
  const others = namedBy(turn, tables, sender).filter((one) => one !== member);
  if (member === sender || (is && others.length >= NAMED)) return;
  turn.put(tables.aliases, sender, json.write(is ? [...others, member] : others));
}
