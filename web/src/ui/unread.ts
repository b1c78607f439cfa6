/** What its person has not read of a room. */

import type { Entry } from "../client/entries.ts";
import type { Room } from "../client/room.ts";

export const isWords = ({ kind }: Entry): boolean => kind === "text" || kind === "file";

/** Whether it tells its person anything. */
export const isNews = (room: Room, one: Entry): boolean =>
  isWords(one) && one.mid !== room.me && !one.again;

/** How many of these entries are unread. */
export const unreadOf = (room: Room, entries: readonly Entry[]): number =>
  entries.filter((one) => isNews(room, one) && one.seq > room.saved.readUpTo).length;

/** A number of unread entries among the last `most`, as it is shown; "" none. */
export const unreadCount = (unread: number, most: number): string =>
  unread === 0 ? "" : unread < most ? String(unread) : `${most}+`;
