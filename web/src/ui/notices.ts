/** Notifications of the browser's own, for who asked for them; no server takes part. */

import { useEffect, useRef } from "preact/hooks";

import type { Client } from "../client/client.ts";
import type { Room } from "../client/room.ts";
import { type Strings, useStrings } from "./strings.ts";
import { isNews } from "./unread.ts";

export const NOTIFY = "notify";

/** While nobody looks at the page, show that a room has something new; never what. */
export function useNotices(client: Client): void {
  const strings = useStrings();
  const known = useRef<Map<string, number>>(undefined);
  useEffect(() => {
    const seqs = () => new Map(client.allRooms().map((room) => [room.id, room.lastSeq]));
    known.current ??= seqs();
    return client.subscribe(() => {
      const before = known.current as Map<string, number>;
      known.current = seqs();
      if (document.visibilityState === "visible" || client.setting(NOTIFY) !== "on") return;
      for (const room of client.allRooms()) {
        const since = before.get(room.id);
        if (since !== undefined && room.lastSeq > since) void notify(room, since, strings);
      }
    });
  }, [client, strings]);
}

async function notify(room: Room, since: number, { settings }: Strings): Promise<void> {
  const entries = (await room.history()).filter((one) => one.seq > since && isNews(room, one));
  if (entries.length === 0 || Notification.permission !== "granted") return;
  const isForMe = entries.some(({ mentions }) => mentions?.includes(room.me));
  const sentence = isForMe ? settings.mentioned(room.name) : settings.newIn(room.name);
  await show(sentence, room.id);
}

/** By the service worker where there is one, as phones have no other way. */
async function show(sentence: string, tag: string): Promise<void> {
  const options = { tag }; // of one tag, only the last is shown
  const kept = await navigator.serviceWorker?.getRegistration();
  if (kept?.active) {
    await kept.showNotification(sentence, options);
    return;
  }
  const notice = new Notification(sentence, options);
  notice.onclick = () => {
    focus();
    notice.close();
  };
}
