/** The sentence of what a person is told, in their language. */

import type { Told } from "../client/told.ts";
import type { Strings } from "./strings.ts";

/**
 * `{1}` is the first word behind the code, `{2}` all that comes after it, and `{*}` what that says as
 * something that is told itself. What has no code is from an earlier version of this page: it is
 * shown as it stands.
 */
export function sentenceOf(what: Told, strings: Strings): string {
  const [code = "", ...words] = what.split(" ");
  const sentences: Readonly<Record<string, string>> = strings.told;
  const sentence = Object.hasOwn(sentences, code) ? sentences[code] : undefined;
  if (sentence === undefined) return what;
  return sentence.replaceAll(/\{[12*]\}/g, (place) => {
    if (place === "{*}") return sentenceOf(words.join(" "), strings);
    return place === "{1}" ? (words[0] ?? "") : words.slice(1).join(" ");
  });
}
