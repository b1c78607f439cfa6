/**
 * One tab at a time has the vault: two would each overwrite what the other wrote. A second tab asks
 * the first to let go, which then shows where the keys are now.
 */

const LOCK = "ofc-vault";
const CHANNEL = "ofc-tabs";
const HAND_OVER = "hand over";
/** So long the other tab may take to write what it has under way. */
const PATIENCE_MS = 15_000;

/** Hold the vault for this tab; how to let it go, or undefined if another tab does not. */
export function holdVault(
  patience = PATIENCE_MS,
  locks: LockManager = navigator.locks,
): Promise<(() => void) | undefined> {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(HAND_OVER);
  channel.close();
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(patience);
    locks
      .request(LOCK, { signal }, () => new Promise<void>((release) => resolve(release)))
      .catch((error: unknown) => {
        if (signal.aborted) resolve(undefined);
        else reject(error);
      });
  });
}

/** Call `letGo` when another tab wants the vault; returns how to stop listening. */
export function whenWanted(letGo: () => void): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => {
    if (data === HAND_OVER) letGo();
  };
  return () => channel.close();
}
