/** What forgetting everything takes, in this tab and in all others. */

import { Vault } from "../client/vault.ts";
import { forgetPage } from "./offline.ts";
import { tellForgotten } from "./tabs.ts";

/**
 * Settled once nothing is left. Where a tab that sleeps keeps the empty vault from going, `onBlocked`
 * is called: all else does not wait for that tab. Rejects with `VaultError`.
 */
export async function forgetAll(vault: string, onBlocked: () => void): Promise<void> {
  let rest: Promise<void> | undefined;
  const forgetRest = () => {
    if (rest === undefined) tellForgotten();
    rest ??= forgetPage();
    return rest;
  };
  await Vault.forget(vault, () => {
    void forgetRest();
    onBlocked();
  });
  await forgetRest();
}
