/** The keys of one member in one room. */

import { memberIdOf } from "../protocol/ids.ts";
import { generateKeyPair, type KeyPair } from "../themis/index.ts";

/** One pair signs, another opens boxes; they must differ. */
export interface MemberKeys {
  readonly mid: Uint8Array;
  readonly sign: KeyPair;
  readonly encrypt: KeyPair;
}

export const memberKeys = (sign: KeyPair, encrypt: KeyPair): MemberKeys => ({
  mid: memberIdOf(sign.public),
  sign,
  encrypt,
});

export const newMemberKeys = (): MemberKeys => memberKeys(generateKeyPair(), generateKeyPair());
