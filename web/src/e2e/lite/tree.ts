/** What a text says, as a tree: blocks of lines of pieces (docs/protocol.md, Text format lite). */

export type Inline =
  | { readonly type: "text" | "code"; readonly text: string }
  | {
      readonly type: "bold" | "italic" | "strike";
      readonly children: Line;
    }
  | { readonly type: "link"; readonly url: string; readonly children: Line }
  | { readonly type: "mention"; readonly member: string; readonly name: string };
export type Line = readonly Inline[];

export type Block =
  | { readonly type: "paragraph"; readonly lines: readonly Line[] }
  | { readonly type: "code_block"; readonly text: string; readonly language: string }
  | { readonly type: "quote"; readonly blocks: Document }
  | { readonly type: "bullet_list"; readonly items: readonly Document[] }
  | { readonly type: "numbered_list"; readonly items: readonly Document[]; readonly start: number };
export type Document = readonly Block[];

/** A member that a message mentions (its id in hex), and the name it may be called by. */
export interface Mentioned {
  readonly member: string;
  readonly name: string;
}
