/** What the views follow: the client, a room's history, the browser's own state. */

import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";

import type { Client } from "../client/client.ts";
import { RoomOver } from "../client/core.ts";
import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";
import { type Told, toldOf } from "../client/told.ts";
import { VaultLocked } from "../client/vault.ts";

/** Draw this component anew after every change of the client. */
export function useClient(client: Client): void {
  const [, redraw] = useReducer<number, void>((count) => count + 1, 0);
  useEffect(() => {
    const stop = client.subscribe(() => redraw());
    redraw(); // for what changed between drawing and subscribing
    return stop;
  }, [client]);
}

interface History {
  readonly room: string;
  readonly entries: readonly Entry[];
}

/**
 * The newest `limit` entries of a room, or those before the entry `before`, oldest first; undefined
 * until they have been read.
 */
export function useHistory(
  room: Room,
  limit: number,
  before?: number,
): readonly Entry[] | undefined {
  const [history, setHistory] = useState<History>();
  const { revision } = room;
  useEffect(() => {
    let stale = false;
    const read = async () => {
      try {
        const entries = await room.history(before, limit);
        if (!stale) setHistory({ room: room.id, entries });
      } catch (error) {
        if (!stale) throw error; // stale: the vault was locked meanwhile
      }
    };
    void read();
    return () => {
      stale = true;
    };
  }, [room, limit, before, revision]);
  return history?.room === room.id ? history.entries : undefined;
}

/** Calls `back` when the person goes back in the browser. */
export function useBack(back: () => void): void {
  const latest = useRef(back);
  latest.current = back;
  useEffect(() => {
    const heard = () => latest.current();
    addEventListener("popstate", heard);
    return () => removeEventListener("popstate", heard);
  }, []);
}

/**
 * Where what had the focus is drawn no more, `instead` has it: who uses the keyboard does not begin
 * at the start of the page again.
 */
export function useKeptFocus(within: RefObject<HTMLElement | null>, instead: string): void {
  const last = useRef<Element>(undefined);
  useEffect(() => {
    const heard = ({ target }: FocusEvent) => {
      const isInside = target instanceof Element && within.current?.contains(target);
      last.current = isInside ? target : undefined;
    };
    addEventListener("focusin", heard);
    return () => removeEventListener("focusin", heard);
  }, [within]);
  useLayoutEffect(() => {
    if (last.current === undefined || last.current.isConnected) return;
    last.current = undefined;
    if (document.activeElement !== document.body) return;
    within.current?.querySelector<HTMLElement>(instead)?.focus({ preventScroll: true });
  });
}

const isShown = (one: Element) => one.getClientRects().length > 0;

/**
 * Where what had the focus is not shown in the `place` that one has gone to, the first that is shown
 * of these has it, each a selector that comes before the next.
 */
export function useFoundFocus(
  within: RefObject<HTMLElement | null>,
  place: string,
  selectors: readonly string[],
): void {
  const before = useRef(place);
  useEffect(() => {
    if (before.current === place) return;
    before.current = place;
    const { activeElement, body } = document;
    if (activeElement !== null && activeElement !== body && isShown(activeElement)) return;
    const all = (selector: string) => [
      ...(within.current?.querySelectorAll<HTMLElement>(selector) ?? []),
    ];
    selectors.flatMap(all).find(isShown)?.focus();
  });
}

/** Calls `close` on Escape. */
export function useEscape(close: () => void): void {
  const latest = useRef(close);
  latest.current = close;
  // At once: whoever sees it may press the key already.
  useLayoutEffect(() => {
    const heard = (event: KeyboardEvent) => {
      if (event.key === "Escape") latest.current();
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  }, []);
}

/** The network is back, or the tab is looked at again: see to the links at once. */
export function useWaking(client: Client): void {
  useEffect(() => {
    const wake = () => {
      if (document.visibilityState === "visible") client.wake();
    };
    addEventListener("online", wake);
    document.addEventListener("visibilitychange", wake);
    return () => {
      removeEventListener("online", wake);
      document.removeEventListener("visibilitychange", wake);
    };
  }, [client]);
}

/** That something was under way while its person locked the page is none. */
export const isTrouble = (error: unknown): boolean =>
  !(error instanceof VaultLocked || error instanceof RoomOver);

/** The latest failure that nobody handled, for a banner. */
export function useTrouble(): [trouble: Told, dismiss: () => void] {
  const [trouble, setTrouble] = useState<Told>("");
  useEffect(() => {
    const heard = (error: unknown) => {
      if (isTrouble(error)) setTrouble(toldOf(error));
    };
    const failed = ({ reason }: PromiseRejectionEvent) => heard(reason);
    const threw = ({ error }: ErrorEvent) => heard(error);
    addEventListener("unhandledrejection", failed);
    addEventListener("error", threw);
    return () => {
      removeEventListener("unhandledrejection", failed);
      removeEventListener("error", threw);
    };
  }, []);
  return [trouble, () => setTrouble("")];
}
