/** Text format lite: from text to blocks. Never throws; linear in the length of the text. */

import { parseLine } from "./inline.ts";
import type { Block, Document, Mentioned } from "./tree.ts";

/** How deep quotes and lists go into each other; a marker further in is literal. */
export const DEPTH = 4;
const FENCE = /^```([0-9A-Za-z+#._-]{0,32})[ \t]*$/;
const FENCE_END = /^```[ \t]*$/;
const BULLET = /^[-*] (?=[^ \t])/;
const NUMBER = /^([0-9]{1,3})[.)] (?=[^ \t])/;
const BLANK = /^[ \t]*$/;

/** The document that `text` is; `mentioned` are those the message names in its mentions. */
export function parse(text: string, mentioned: readonly Mentioned[] = []): Document {
  const longestFirst = mentioned
    .filter((one) => one.name !== "")
    .sort((one, other) => [...other.name].length - [...one.name].length);
  const lines = text.replaceAll("\r\n", "\n").replaceAll("\r", "\n").split("\n");
  return new Blocks(lines, longestFirst, 0).parse();
}

/** The blocks of some lines: of a text, a quote or a list's item. */
class Blocks {
  private readonly made: Block[] = [];
  private readonly fenceEnds: number[];
  private paragraph: string[] = [];
  private at = 0;
  private fence = 0;

  constructor(
    private readonly lines: readonly string[],
    private readonly names: readonly Mentioned[],
    private readonly depth: number,
  ) {
    this.fenceEnds = lines.flatMap((line, index) => (FENCE_END.test(line) ? [index] : []));
  }

  parse(): Document {
    while (this.at < this.lines.length) {
      const line = this.line;
      if (BLANK.test(line)) {
        this.endParagraph();
        this.at += 1;
      } else if (!this.block(line)) {
        this.paragraph.push(withoutBlanks(line));
        this.at += 1;
      }
    }
    this.endParagraph();
    return this.made;
  }

  private get line(): string {
    return this.lines[this.at] ?? "";
  }

  private endParagraph(): void {
    if (this.paragraph.length === 0) return;
    const lines = this.paragraph.map((line) => parseLine(line, this.names));
    this.made.push({ type: "paragraph", lines });
    this.paragraph = [];
  }

  /** Take a block that is no paragraph; false: none begins with this line. */
  private block(line: string): boolean {
    const fence = FENCE.exec(line);
    const end = fence === null ? 0 : this.fenceEnd();
    if (fence !== null && end > 0) {
      const text = this.lines.slice(this.at + 1, end).join("\n");
      this.add({ type: "code_block", text, language: fence[1] ?? "" });
      this.at = end + 1;
      return true;
    }
    if (this.depth === DEPTH) return false;
    const number = NUMBER.exec(line);
    if (quoted(line) !== undefined) this.takeQuote();
    else if (BULLET.test(line)) this.add({ type: "bullet_list", items: this.takeItems(BULLET) });
    else if (number !== null) {
      const start = Number(number[1]);
      this.add({ type: "numbered_list", items: this.takeItems(NUMBER), start });
    } else return false;
    return true;
  }

  private add(block: Block): void {
    this.endParagraph();
    this.made.push(block);
  }

  /** The next line that ends a block of code; 0: there is none. */
  private fenceEnd(): number {
    while ((this.fenceEnds[this.fence] ?? Number.POSITIVE_INFINITY) <= this.at) this.fence += 1;
    return this.fenceEnds[this.fence] ?? 0;
  }

  private inside(lines: readonly string[]): Document {
    return new Blocks(lines, this.names, this.depth + 1).parse();
  }

  private takeQuote(): void {
    const inside: string[] = [];
    for (; this.at < this.lines.length; this.at += 1) {
      const line = quoted(this.line);
      if (line === undefined) break;
      inside.push(line);
    }
    this.add({ type: "quote", blocks: this.inside(inside) });
  }

  /** The items of a list, each with the indented lines that follow it. */
  private takeItems(marker: RegExp): Document[] {
    this.endParagraph();
    const items: Document[] = [];
    while (this.at < this.lines.length) {
      const width = marker.exec(this.line)?.[0].length;
      if (width === undefined) break;
      const inside = [this.line.slice(width)];
      this.at += 1;
      for (; this.at < this.lines.length && goesOn(this.line); this.at += 1) {
        inside.push(dedented(this.line, width));
      }
      items.push(this.inside(inside));
    }
    return items;
  }
}

/** A line without the blanks at its end; a pattern would look from each blank of a line to its last. */
function withoutBlanks(line: string): string {
  let end = line.length;
  while (line[end - 1] === " " || line[end - 1] === "\t") end -= 1;
  return line.slice(0, end);
}

/** What a line quotes; undefined where it does not. */
function quoted(line: string): string | undefined {
  if (/^>[ \t]*$/.test(line)) return "";
  return line.startsWith("> ") ? line.slice(2) : undefined;
}

const goesOn = (line: string) => line.startsWith("  ") && !BLANK.test(line);

function dedented(line: string, width: number): string {
  const spaces = line.length - line.replace(/^ +/, "").length;
  return line.slice(Math.min(spaces, width));
}
