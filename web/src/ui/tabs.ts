/**
 * One tab at a time has the vault. A second one asks the first to let go, which then shows where the
 * keys are now. A tab that sleeps, as phones put them to sleep, hears nothing: from it the vault is
 * taken, and whatever it still wants to write when it wakes is refused (client/vault.ts).
 */

const LOCK = "ofc-vault";
const CHANNEL = "ofc-tabs";
const HAND_OVER = "hand over";
const FORGOTTEN = "forgotten";
/** So long the other tab may take to write what it has under way. */
const PATIENCE_MS = 5_000;
/** It is asked again: one that is just being opened does not listen yet. */
const AGAIN_MS = 250;

/** The vault is this tab's, until it lets go. */
export interface Hold {
  letGo(): void;
  /** Settled once another tab has taken it. */
  readonly lost: Promise<void>;
}

/** Hold the vault for this tab. */
export async function holdVault(
  patience = PATIENCE_MS,
  locks: LockManager = navigator.locks,
): Promise<Hold> {
  const channel = new BroadcastChannel(CHANNEL);
  const ask = () => channel.postMessage(HAND_OVER);
  const timer = setInterval(ask, AGAIN_MS);
  ask();
  try {
    const signal = AbortSignal.timeout(patience);
    return (await held(locks, { signal })) ?? ((await held(locks, { steal: true })) as Hold);
  } finally {
    clearInterval(timer);
    channel.close();
  }
}

/** Undefined: in vain, as its signal says. */
function held(locks: LockManager, options: LockOptions): Promise<Hold | undefined> {
  return new Promise((resolve, reject) => {
    let lose = () => {};
    const lost = new Promise<void>((settle) => {
      lose = settle;
    });
    locks
      .request(LOCK, options, () => new Promise<void>((letGo) => resolve({ letGo, lost })))
      .catch((error: unknown) => {
        lose(); // where it was held, another tab has taken it
        if (options.signal?.aborted) resolve(undefined);
        else reject(error);
      });
  });
}

/** Call `letGo` when another tab wants the vault; returns how to stop listening. */
export const whenWanted = (letGo: () => void): (() => void) => whenTold(HAND_OVER, letGo);

/** Call `act` when another tab has forgotten everything; returns how to stop listening. */
export const whenForgotten = (act: () => void): (() => void) => whenTold(FORGOTTEN, act);

/** Tell the other tabs that there is nothing left to open. */
export function tellForgotten(): void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(FORGOTTEN);
  channel.close();
}

function whenTold(what: string, act: () => void): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => {
    if (data === what) act();
  };
  return () => channel.close();
}
