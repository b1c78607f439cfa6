/** One tab at a time has the vault: two would each overwrite what the other wrote. */

const LOCK = "ofc-vault";

/** Hold the vault for this tab; how to let it go, or undefined if another tab has it. */
export function holdVault(locks: LockManager = navigator.locks): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    locks
      .request(LOCK, { ifAvailable: true }, (lock) => {
        if (lock === null) {
          resolve(undefined);
          return undefined;
        }
        return new Promise<void>((release) => resolve(release));
      })
      .catch(reject);
  });
}
