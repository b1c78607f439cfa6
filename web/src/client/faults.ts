/** What can be wrong with a vault: each says why, and what to do. */

export type VaultFault =
  | "there"
  | "missing"
  | "passphrase"
  | "damaged"
  | "full"
  | "locked"
  | "not_removed"
  | "not_read"
  | "not_written";

/** The vault can not be used; the message says why, and what to do. */
export class VaultError extends Error {
  override readonly name: string = "VaultError";

  constructor(
    readonly fault: VaultFault,
    sentence: string,
  ) {
    super(sentence);
  }
}
export class WrongPassphrase extends VaultError {
  override readonly name = "WrongPassphrase";

  constructor() {
    super("passphrase", "this is not the passphrase of this vault");
  }
}
/** Records were changed, put back or removed outside this program. */
export class VaultDamaged extends VaultError {
  override readonly name = "VaultDamaged";

  constructor() {
    super("damaged", "the vault was changed outside this program: restore a backup, or forget it");
  }
}
/** There is no room left to write; nothing of what is here was lost. */
export class VaultFull extends VaultError {
  override readonly name = "VaultFull";

  constructor() {
    super("full", "there is no room left in this browser: nothing more can be kept");
  }
}
/** It was locked or removed, or another tab has it now: nothing is read or written here any more. */
export class VaultLocked extends VaultError {
  override readonly name = "VaultLocked";

  constructor() {
    super("locked", "the vault is locked, or another tab has it now");
  }
}
