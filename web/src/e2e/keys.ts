/** The keys of one member in one room. */

import { equal } from "../protocol/bytes.ts";
import { memberIdOf } from "../protocol/ids.ts";
import { memberOf, Refused, type RoomState } from "../protocol/room.ts";
import { generateKeyPair, type KeyPair } from "../themis/index.ts";

/** An encryption key of a member's own that is not, or not yet, the one that others box for. */
export interface OtherPair extends KeyPair {
  /** When it was replaced, in milliseconds since 1970; 0: it is to be the next. */
  readonly replaced: number;
}

/** One pair signs, another opens boxes; they must differ. */
export interface MemberKeys {
  readonly mid: Uint8Array;
  readonly sign: KeyPair;
  readonly encrypt: KeyPair;
  /** Pairs that boxes may still come for: former ones, and one that is to be the next. */
  readonly others: readonly OtherPair[];
}

export const memberKeys = (
  sign: KeyPair,
  encrypt: KeyPair,
  others: readonly OtherPair[] = [],
): MemberKeys => ({ mid: memberIdOf(sign.public), sign, encrypt, others });

export const newMemberKeys = (): MemberKeys => memberKeys(generateKeyPair(), generateKeyPair());

/** All pairs that open boxes, the current one first. */
export const heldPairs = ({ encrypt, others }: MemberKeys): readonly KeyPair[] => [
  encrypt,
  ...others,
];

/** With one pair more, that is to be the next. */
export const holding = (mine: MemberKeys, pair: KeyPair): MemberKeys => ({
  ...mine,
  others: [{ ...pair, replaced: 0 }, ...mine.others],
});

/** With the pair of this public key as the current one; unchanged, if it is not held. */
export function turnedTo(mine: MemberKeys, encKey: Uint8Array, now: number): MemberKeys {
  const pair = mine.others.find((other) => equal(other.public, encKey));
  if (pair === undefined) return mine;
  const rest = mine.others.filter((other) => other !== pair);
  const former = { ...mine.encrypt, replaced: now };
  const encrypt = { private: pair.private, public: pair.public };
  return { ...mine, encrypt, others: [former, ...rest] };
}

/** Whether the key that others box for is here: not so in a vault that was put back. */
export function holdsOwnKey({ members }: RoomState, mine: MemberKeys, me: string): boolean {
  const member = members.get(me);
  return member === undefined || equal(member.encKey, mine.encrypt.public);
}

/** My boxes open for others, who take my key from the room's state; else throws `Refused`. */
export function checkOwn(state: RoomState, mine: MemberKeys): void {
  if (!equal(memberOf(state, mine.mid).encKey, mine.encrypt.public)) throw new Refused("bad_key");
}
