/** Which tab has the vault: one that hears late, and one that hears nothing. */

import { expect, onTestFinished, test } from "vitest";

import { type Hold, holdVault, whenWanted } from "../../src/ui/tabs.ts";

/** One lock, as browsers have it (w3.org/TR/web-locks): held, waited for, stolen. */
class OneLock {
  private free: Promise<void> = Promise.resolve();
  private steal: () => void = () => undefined;

  readonly request = async (
    _name: string,
    { signal, steal }: LockOptions,
    act: () => Promise<void>,
  ): Promise<void> => {
    if (steal) this.steal();
    else {
      const aborted = new Promise((_, reject) =>
        signal?.addEventListener("abort", () => reject(signal.reason)),
      );
      await Promise.race([this.free, aborted]);
    }
    const stolen = new Promise<never>((_, reject) => {
      this.steal = () => reject(new DOMException("stolen", "AbortError"));
    });
    const held = act();
    this.free = held;
    await Promise.race([held, stolen]);
  };
}

const locks = () => new OneLock() as unknown as LockManager;
const SHORT_MS = 300;

test("a tab that begins to listen late is asked again, and lets go", async () => {
  const shared = locks();
  const first = await holdVault(SHORT_MS, shared);
  const second = holdVault(60_000, shared);
  await new Promise((resolve) => setTimeout(resolve, 50)); // it was asked, and heard nothing
  const stop = whenWanted(() => first.letGo());
  onTestFinished(stop);
  (await second).letGo();
});

test("from a tab that hears nothing the vault is taken, and it learns that once it can", async () => {
  const shared = locks();
  const asleep = await holdVault(SHORT_MS, shared);
  let heard: Hold | undefined;
  void asleep.lost.then(() => {
    heard = asleep;
  });
  const awake = await holdVault(SHORT_MS, shared);
  await expect.poll(() => heard).toBe(asleep);
  awake.letGo();
  (await holdVault(SHORT_MS, shared)).letGo();
});
