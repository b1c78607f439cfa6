/**
 * Words that are not sent yet, by room: one finds them again after a look into another room, and after
 * another tab had the keys. They are nowhere but in the memory of this page; to lock it drops them.
 */

import { createContext } from "preact";

import type { Ending } from "../client/vault.ts";

export const UnsentContext = createContext<Map<string, string>>(new Map());

/** Why a page has its keys no more: what another tab did or the browser, or its person. */
export type Closing = Ending | "locked";

/**
 * The words that outlive such an end: those of somebody who may go on with the same keys. Any others
 * are dropped with their map, into which what was under way may still put some back.
 */
export function unsentAfter(unsent: Map<string, string>, why: Closing): Map<string, string> {
  if (why === "taken" || why === "doubtful") return unsent;
  unsent.clear();
  return new Map();
}
