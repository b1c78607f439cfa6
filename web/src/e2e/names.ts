/** Names that people chose, made safe to show. */

export const NAME_CHARACTERS = 64;
const MARKS_IN_A_ROW = 2;
/** Control, format (bidi, zero width), surrogate, private, unassigned, line and paragraph breaks. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;
/** Characters that draw nothing though Unicode calls them letters, marks or symbols. */
const BLANK = new Set("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0");
const VARIATION = /[\u{fe00}-\u{fe0f}\u{e0100}-\u{e01ef}]/u;
const MARK = /\p{M}/u;
// What Python's str.isspace knows and \s does not, and the other way round.
// biome-ignore lint/suspicious/noControlCharactersInRegex: four of them are white space
const SPACE = /[\s\u001c-\u001f\u0085]/u;
const NO_SPACE = "\ufeff";

/** `raw` as one line that can not hide, reorder or overrun anything; may come out empty. */
export function displayName(raw: string, limit = NAME_CHARACTERS): string {
  const first = [...raw].slice(0, 16 * limit).join("");
  const words = visibleText(first.normalize("NFC")).split(" ").filter(Boolean);
  return [...words.join(" ")].slice(0, limit).join("").trimEnd();
}

/** `raw` without the characters that hide, reorder or stack; white space becomes a space. */
export function visibleText(raw: string): string {
  let [kept, marks] = ["", 0];
  for (const each of raw) {
    const character = SPACE.test(each) && each !== NO_SPACE ? " " : each;
    marks = MARK.test(character) ? marks + 1 : 0;
    if (marks <= MARKS_IN_A_ROW && !isHidden(character)) kept += character;
  }
  return kept;
}

const isHidden = (character: string) =>
  HIDDEN.test(character) || BLANK.has(character) || VARIATION.test(character);
