/** A few signs, drawn here; what a button with one is called stands in its label. */

import type { JSX } from "preact";

const PATHS = {
  back: "M15 5l-7 7 7 7",
  search: "M11 4a7 7 0 1 1 0 14a7 7 0 0 1 0-14zM16.5 16.5L21 21",
  people:
    "M9 5a3.5 3.5 0 1 1 0 7a3.5 3.5 0 0 1 0-7zM2.5 20c0-8 13-8 13 0M16 5a3.5 3.5 0 0 1 0 7M18 14.5q3.500 1.500 3.500 5.500",
  invite: "M10 5a3.500 3.500 0 1 1 0 7a3.500 3.500 0 0 1 0-7zM3 20c0-8 14-8 14 0M19 5v6M16 8h6",
  attach: "M12 5v14M5 12h14",
} as const;

export type Sign = keyof typeof PATHS;

export const Icon = ({ sign }: { sign: Sign }): JSX.Element => (
  <svg class="icon" aria-hidden="true" viewBox="0 0 24 24">
    <path d={PATHS[sign]} />
  </svg>
);
