/** A message's text as elements: from the tree alone, never from a string of markup. */

import type { ComponentChildren, JSX } from "preact";
import { useMemo, useState } from "preact/hooks";

import {
  type Block,
  type Document,
  type Inline,
  type Line,
  type Mentioned,
  parse,
} from "../e2e/lite/index.ts";
import { beginningOf } from "./format.ts";
import { useStrings } from "./strings.ts";

const SCHEMES = new Set(["http:", "https:", "mailto:"]);

interface LiteProps {
  readonly text: string;
  readonly isMarkdown: boolean;
  readonly mentioned?: readonly Mentioned[];
}

export function Lite({ text, isMarkdown, mentioned = [] }: LiteProps): JSX.Element {
  const strings = useStrings();
  const [unfolded, setUnfolded] = useState(false);
  const beginning = beginningOf(text);
  const isFolded = beginning !== text && !unfolded;
  const shown = isFolded ? `${beginning}…` : text;
  const names = mentioned.map(({ name }) => name).join("\n");
  const document = useMemo(
    () => (isMarkdown ? parse(shown, mentioned) : undefined),
    [shown, isMarkdown, names],
  );
  return (
    <div class="lite">
      {document ? (
        blocks(document)
      ) : (
        <p class="plain" dir="auto">
          {shown}
        </p>
      )}
      {isFolded && (
        <button type="button" class="quiet" onClick={() => setUnfolded(true)}>
          {strings.showAll}
        </button>
      )}
    </div>
  );
}

/** Each goes in the direction of its own words. */
const blocks = (document: Document): ComponentChildren => document.map(block);

function block(one: Block): ComponentChildren {
  switch (one.type) {
    case "paragraph":
      return <p dir="auto">{lines(one.lines)}</p>;
    case "code_block":
      return (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard must be able to scroll it
        <pre dir="auto" tabIndex={0}>
          <code>{one.text}</code>
        </pre>
      );
    case "quote":
      return <blockquote dir="auto">{blocks(one.blocks)}</blockquote>;
    case "bullet_list":
      return <ul dir="auto">{one.items.map(item)}</ul>;
    case "numbered_list":
      return (
        <ol start={one.start} dir="auto">
          {one.items.map(item)}
        </ol>
      );
  }
}

const item = (document: Document): ComponentChildren => <li>{blocks(document)}</li>;

const lines = (all: readonly Line[]): ComponentChildren =>
  all.flatMap((line, index) => (index === 0 ? [inline(line)] : [<br />, inline(line)]));

const inline = (line: Line): ComponentChildren => line.map(piece);

function piece(one: Inline): ComponentChildren {
  switch (one.type) {
    case "text":
      return one.text;
    case "code":
      return <code>{one.text}</code>;
    case "bold":
      return <strong>{inline(one.children)}</strong>;
    case "italic":
      return <em>{inline(one.children)}</em>;
    case "strike":
      return <s>{inline(one.children)}</s>;
    case "mention":
      return <span class="mention">@{one.name}</span>;
    case "link":
      return <Address url={one.url} label={one.children} />;
  }
}

/** A link says where it leads: in words of its own it could say anything. */
function Address({ url, label }: { url: string; label: Line }): JSX.Element {
  const strings = useStrings();
  const [first, ...rest] = label;
  const isBare = first?.type === "text" && rest.length === 0 && first.text === url;
  if (!isSafe(url)) return <span>{inline(label)}</span>;
  return (
    <>
      <a href={url} target="_blank" rel="noopener noreferrer" title={strings.leadsTo(url)}>
        <bdi>{inline(label)}</bdi>
      </a>
      {!isBare && (
        <>
          {" "}
          <bdi class="address">({url})</bdi>
        </>
      )}
    </>
  );
}

function isSafe(url: string): boolean {
  try {
    return SCHEMES.has(new URL(url).protocol);
  } catch {
    return false;
  }
}
