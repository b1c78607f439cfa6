/**
 * One line of text format lite: markers, code, links, mentions. One pass, in linear time.
 *
 * Markers are kept on a stack that holds each kind at most once, so that nesting is bounded and the
 * fate of a marker is decided at once. What stays open at the end is literal.
 */

import type { Inline, Line, Mentioned } from "./tree.ts";

export const URL_CHARACTERS = 2048;
const SCHEME = /(?:https?:\/\/|mailto:)(?=[0-9A-Za-z])/y;
const URL_PATTERN = /(?:https?:\/\/|mailto:)[0-9A-Za-z][!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~]*/y;
const SPECIAL = /\\|`+|\*+|_+|~+|[[\]@]|https?:\/\/|mailto:/g;
const PUNCTUATION = new Set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");
const TRAILING = new Set(".,:;!?'*_~");
const RUNS = new Set(["*", "**", "***", "_", "~~"]);

const isWord = (character: string) => /^[0-9A-Za-z]/.test(character);
/** A word's character in any script. */
const isLetter = (character: string) => isWord(character) || character >= "\u0080";
const isBlank = (character: string) => character === "" || character === " " || character === "\t";

interface Marker {
  readonly text: string;
  readonly make: (children: Line) => Inline;
  /** What must stand neither before it opens nor behind it closes. */
  readonly isWord: (character: string) => boolean;
}

const BOLD: Marker = {
  text: "**",
  make: (children) => ({ type: "bold", children }),
  isWord,
};
const STAR: Marker = {
  text: "*",
  make: (children) => ({ type: "italic", children }),
  isWord,
};
const LOW: Marker = { ...STAR, text: "_", isWord: isLetter };
const STRIKE: Marker = {
  text: "~~",
  make: (children) => ({ type: "strike", children }),
  isWord,
};
const LINK: Marker = {
  text: "[",
  make: (children) => ({ type: "link", url: "", children }),
  isWord,
};

/** By a run's character and length (less one): what it may close. */
const CLOSERS: Readonly<Record<string, readonly (readonly Marker[])[]>> = {
  "*": [[STAR], [BOLD], [BOLD, STAR]],
  _: [[LOW]],
  "~": [[], [STRIKE]],
};

/** What a run opens, outermost first. */
function openers(character: string, left: number): readonly Marker[] {
  if (left === 0) return [];
  if (character === "*") return ([[STAR], [BOLD], [BOLD, STAR]] as const)[left - 1] ?? [];
  return character === "_" ? [LOW] : [STRIKE];
}

/** What stands behind an open marker; without one, the line itself. */
interface Frame {
  readonly marker: Marker | undefined;
  readonly children: Inline[];
}

class LineParser {
  private readonly stack: Frame[] = [{ marker: undefined, children: [] }];
  private readonly ticks: Map<number, number[]>;
  private at = 0;

  constructor(
    private readonly text: string,
    private readonly mentioned: readonly Mentioned[],
  ) {
    this.ticks = tickRuns(text);
  }

  parse(): Line {
    const special = new RegExp(SPECIAL);
    for (;;) {
      special.lastIndex = this.at;
      const found = special.exec(this.text);
      if (found === null) break;
      this.say(this.text.slice(this.at, found.index));
      this.at = special.lastIndex;
      this.take(found[0], found.index);
    }
    this.say(this.text.slice(this.at));
    while (this.stack.length > 1) this.giveUp(this.stack.length - 1);
    return joined(this.children);
  }

  private get children(): Inline[] {
    return (this.stack.at(-1) as Frame).children;
  }

  private take(token: string, start: number): void {
    switch (token[0]) {
      case "\\":
        this.escape();
        break;
      case "`":
        this.code(token, start);
        break;
      case "[":
        this.openLink();
        break;
      case "]":
        this.closeLink();
        break;
      case "@":
        this.mention(start);
        break;
      case "h":
      case "m":
        this.address(token, start);
        break;
      default:
        this.markers(token, start);
    }
  }

  private say(text: string): void {
    if (text !== "") this.children.push({ type: "text", text });
  }

  private escape(): void {
    const following = this.text[this.at] ?? "";
    if (PUNCTUATION.has(following)) {
      this.say(following);
      this.at += 1;
    } else {
      this.say("\\");
    }
  }

  private code(ticks: string, start: number): void {
    const closers = this.ticks.get(ticks.length) ?? [];
    while ((closers.at(-1) ?? Number.POSITIVE_INFINITY) <= start) closers.pop();
    const end = closers.at(-1);
    if (end === undefined) {
      this.say(ticks);
      return;
    }
    const code = this.text.slice(this.at, end);
    const spaced = code.startsWith(" ") && code.endsWith(" ") && /[^ ]/.test(code);
    this.children.push({ type: "code", text: spaced ? code.slice(1, -1) : code });
    this.at = end + ticks.length;
  }

  private mention(start: number): void {
    const before = this.text[start - 1] ?? "";
    const candidates = before !== "" && isLetter(before) ? [] : this.mentioned;
    for (const { member, name } of candidates) {
      const end = this.at + name.length;
      const following = this.text[end] ?? "";
      if (this.text.startsWith(name, this.at) && !(following !== "" && isLetter(following))) {
        this.children.push({ type: "mention", member, name });
        this.at = end;
        return;
      }
    }
    this.say("@");
  }

  private address(scheme: string, start: number): void {
    const { url, end } = addressAt(this.text, start);
    if (url !== "")
      this.children.push({ type: "link", url, children: [{ type: "text", text: url }] });
    else if (end > 0) this.say(this.text.slice(start, end));
    else this.say(scheme);
    if (end > 0) this.at = end;
  }

  // -- markers ---------------------------------------------------------------------------------

  private markers(run: string, start: number): void {
    const before = this.text[start - 1] ?? "";
    const after = this.text[this.at] ?? "";
    const known = RUNS.has(run);
    const character = run[0] as string;
    let left = known ? run.length : 0;
    while (left > 0 && !isBlank(before)) {
      const index = this.toClose(character, left, after);
      if (index === 0) break;
      left -= this.close(index);
    }
    for (const marker of openers(character, left)) {
      const blocked = before !== "" && marker.isWord(before);
      if (isBlank(after) || this.index(marker) > 0 || blocked) break;
      this.stack.push({ marker, children: [] });
      left -= marker.text.length;
    }
    this.say(known ? run.slice(0, left) : run);
  }

  /** Where on the stack the marker stands that a run of `left` closes; 0: nowhere. */
  private toClose(character: string, left: number, after: string): number {
    const closers = CLOSERS[character]?.[left - 1] ?? [];
    const index = Math.max(0, ...closers.map((marker) => this.index(marker)));
    const marker = this.stack[index]?.marker;
    return marker !== undefined && !(after !== "" && marker.isWord(after)) ? index : 0;
  }

  /** Make a piece of what stands behind a marker; returns the marker's length. */
  private close(index: number): number {
    while (this.stack.length > index + 1) this.giveUp(this.stack.length - 1);
    const { marker = BOLD, children } = this.stack.pop() as Frame;
    this.children.push(marker.make(joined(children)));
    return marker.text.length;
  }

  private index(marker: Marker): number {
    return Math.max(
      0,
      this.stack.findIndex((frame) => frame.marker === marker),
    );
  }

  /** A marker turns out to be literal; what stands behind it goes to the frame below. */
  private giveUp(index: number): void {
    const [frame] = this.stack.splice(index, 1) as [Frame];
    if (frame.marker === undefined) return;
    const below = (this.stack[index - 1] as Frame).children;
    below.push({ type: "text", text: frame.marker.text }, ...frame.children);
  }

  // -- links -----------------------------------------------------------------------------------

  private openLink(): void {
    const index = this.index(LINK);
    if (index > 0) this.giveUp(index);
    this.stack.push({ marker: LINK, children: [] });
  }

  private closeLink(): void {
    const index = this.index(LINK);
    const url = index > 0 ? targetAt(this.text, this.at) : "";
    if (url === "") {
      if (index > 0) this.giveUp(index);
      this.say("]");
      return;
    }
    this.at += url.length + 2;
    while (this.stack.length > index + 1) this.giveUp(this.stack.length - 1);
    const words = joined(unlinked((this.stack.pop() as Frame).children));
    const children: Line = words.length > 0 ? words : [{ type: "text", text: url }];
    this.children.push({ type: "link", url, children });
  }
}

/** Where runs of backticks begin, by their length, the last one first. */
function tickRuns(text: string): Map<number, number[]> {
  const runs = new Map<number, number[]>();
  for (const found of [...text.matchAll(/`+/g)].reverse()) {
    const starts = runs.get(found[0].length) ?? [];
    runs.set(found[0].length, starts);
    starts.push(found.index);
  }
  return runs;
}

/** The pieces, texts beside each other made one. */
function joined(pieces: readonly Inline[]): Line {
  const made: Inline[] = [];
  for (const piece of pieces) {
    const last = made.at(-1);
    if (piece.type === "text" && last?.type === "text") {
      made[made.length - 1] = { type: "text", text: last.text + piece.text };
    } else {
      made.push(piece);
    }
  }
  return made;
}

/** The pieces without the addresses found in them: a link holds no link. */
function unlinked(pieces: readonly Inline[]): Inline[] {
  return pieces.flatMap((piece): readonly Inline[] => {
    if (piece.type === "link") return piece.children;
    if (piece.type === "bold" || piece.type === "italic" || piece.type === "strike") {
      return [{ ...piece, children: joined(unlinked(piece.children)) }];
    }
    return [piece];
  });
}

// -- addresses -----------------------------------------------------------------------------------

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

/** The address that begins at `start`, and where it, or what only looks like one, ends; 0: nowhere. */
export function addressAt(text: string, start: number): { url: string; end: number } {
  const none = { url: "", end: 0 };
  const before = text[start - 1] ?? "";
  if ((before !== "" && isWord(before)) || matchAt(SCHEME, text, start) === undefined) return none;
  const found = matchAt(URL_PATTERN, text, start);
  if (found === undefined) return none;
  const end = start + found.length;
  // Where an address goes on beyond ASCII, its end can not be told: no link is better than half.
  if ((text[end] ?? "") >= "\u0080") return { url: "", end };
  const url = withoutTail(found);
  if (url.length > URL_CHARACTERS || !isUrl(url)) return { url: "", end };
  return { url, end: start + url.length };
}

const count = (text: string, character: string) => text.split(character).length - 1;

/** An address without the punctuation of the sentence it ends. */
function withoutTail(url: string): string {
  let spare = count(url, ")") - count(url, "(");
  let end = url.length;
  for (;;) {
    const last = url[end - 1] ?? "";
    if (!TRAILING.has(last) && !(last === ")" && spare > 0)) return url.slice(0, end);
    if (last === ")") spare -= 1;
    end -= 1;
  }
}

function isUrl(url: string): boolean {
  if (!url.startsWith("mailto:")) return true;
  const address = url.slice("mailto:".length);
  const at = address.indexOf("@");
  return at > 0 && isWord(address.slice(at + 1));
}

/** The address in "(address)" at `at`; "" if there is none. */
function targetAt(text: string, at: number): string {
  const found = text[at] === "(" ? matchAt(URL_PATTERN, text, at + 1) : undefined;
  if (found === undefined) return "";
  let depth = 0;
  for (let position = 0; position < found.length; position += 1) {
    if (found[position] === "(") depth += 1;
    else if (found[position] === ")") depth -= 1;
    if (depth < 0) {
      const url = found.slice(0, position);
      return url.length <= URL_CHARACTERS && isUrl(url) ? url : "";
    }
  }
  return "";
}

/** The pieces of one line; `mentioned` by longest name first. */
export const parseLine = (text: string, mentioned: readonly Mentioned[] = []): Line =>
  new LineParser(text, mentioned).parse();
