/** Text format lite (`markdown-lite`): one small strict grammar, one tree, the same everywhere. */

export { DEPTH, parse } from "./blocks.ts";
export { URL_CHARACTERS } from "./inline.ts";
export type { Block, Document, Inline, Line, Mentioned } from "./tree.ts";
