/** Days, times and sizes as a person of this language writes them. */

import type { Entry } from "../client/entries.ts";
import { BUCKETS } from "../e2e/bodies.ts";
import { displayName } from "../e2e/names.ts";
import { utf8 } from "../protocol/bytes.ts";
import { KIB, MIB } from "../protocol/limits.ts";
import type { Strings } from "./strings.ts";

const EXCERPT_CHARACTERS = 200;
/** Room that a body's frame (ids, name) takes beside the words. */
const FRAME_BYTES = 2 * KIB;
/** Words that surely fit into one message, in bytes as JSON writes them. */
export const TEXT_BYTES = (BUCKETS[BUCKETS.length - 1] as number) - FRAME_BYTES;

export const textBytes = (text: string): number => utf8(JSON.stringify(text)).length;

const language = () => document.documentElement.lang;
/** Formats are slow to make, and each message asks for two. */
const made = new Map<string, Intl.DateTimeFormat>();
function dated(ts: number, options: Intl.DateTimeFormatOptions): string {
  const key = `${language()} ${JSON.stringify(options)}`;
  const format = made.get(key) ?? new Intl.DateTimeFormat(language(), options);
  made.set(key, format);
  return format.format(dateOf(ts));
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** About the last moment that a date can name (ECMA-262); a member's clock may say any later one. */
const LAST_MS = 8.64e15 - 2 * DAY_MS;
const dateOf = (ts: number) => new Date(Math.min(ts, LAST_MS));
const midnight = (ts: number) => dateOf(ts).setHours(0, 0, 0, 0);

/** A moment for programs to read. */
export const isoTime = (ts: number): string => dateOf(ts).toISOString();

export const sameDay = (one: number, other: number): boolean => midnight(one) === midnight(other);

export function dayName(ts: number, now: number, strings: Strings): string {
  const days = Math.round((midnight(now) - midnight(ts)) / DAY_MS);
  if (days === 0) return strings.today;
  if (days === 1) return strings.yesterday;
  const year = dateOf(ts).getFullYear() === dateOf(now).getFullYear();
  return dated(ts, {
    weekday: "long",
    day: "numeric",
    month: "long",
    ...(year ? {} : { year: "numeric" }),
  });
}

export const clock = (ts: number): string => dated(ts, { hour: "2-digit", minute: "2-digit" });

export const fullTime = (ts: number): string =>
  dated(ts, { dateStyle: "full", timeStyle: "short" });

/** The beginning of a message, for one line; of a file without words, its name. */
export const excerptOf = (
  { text, file }: Pick<Entry, "text" | "file">,
  most = EXCERPT_CHARACTERS,
): string => (text || (file?.name ?? "")).slice(0, most);

/** Digits and signs that become emoji with what follows, and what joins, colours or numbers them. */
const EMOJI = /^[\p{Emoji}\p{Emoji_Component}]{1,32}$/u;
const EMOJI_CHARACTERS = 16;

/** A reaction as it is shown: whatever is no emoji may hide, reorder or overrun nothing. */
export const emojiName = (emoji: string): string =>
  EMOJI.test(emoji) ? emoji : displayName(emoji, EMOJI_CHARACTERS) || "?";

/** As much of a message is drawn until its reader asks for all: a page must stay quick, and in hand. */
const FOLDED_CHARACTERS = 1500;
const FOLDED_LINES = 30;
const LINE_END = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/gu;

/** The beginning of a long text; of any other, all of it. */
export function beginningOf(text: string): string {
  const shown = text.slice(0, FOLDED_CHARACTERS);
  const ends = [...shown.matchAll(LINE_END)];
  return shown.slice(0, ends[FOLDED_LINES - 1]?.index);
}

export function sizeName(bytes: number): string {
  const [value, unit] = bytes < MIB ? [bytes / KIB, "KiB"] : [bytes / MIB, "MiB"];
  const shown = new Intl.NumberFormat(language(), { maximumFractionDigits: 1 }).format(value);
  return `${shown} ${unit}`;
}

export const shortTime = (ts: number): string =>
  dated(ts, { dateStyle: "medium", timeStyle: "short" });

export const percentName = (part: number): string =>
  new Intl.NumberFormat(language(), { style: "percent" }).format(part);

/** Let the person save what is here, under this name. */
export function saveAs(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Later: some browsers read it only after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The address of the relay that serves this page. */
export const ownRelay = (): string => location.origin.replace(/^http/, "ws");

/** The part of a relay's address that a person knows it by; whoever moves a room may call it anything. */
export function hostOf(url: string): string {
  try {
    return new URL(url).host || displayName(url);
  } catch {
    return displayName(url);
  }
}

export function isRelayAddress(url: string): boolean {
  try {
    return /^wss?:$/.test(new URL(url).protocol);
  } catch {
    return false;
  }
}
