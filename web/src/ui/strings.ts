/** Every sentence of the page, in each language; a key that one lacks does not compile. */

import { createContext } from "preact";
import { useContext } from "preact/hooks";

import { en, type Strings, type Who } from "./languages/en.ts";
import { es } from "./languages/es.ts";

export type { Strings, Who };

const tables = { en, es } satisfies Record<string, Strings>;
type Language = keyof typeof tables;

const languageOf = (tag: string) => tag.toLowerCase().split("-")[0] as string;

/**
 * The first of these tags (as `navigator.languages` has them) whose language the page speaks;
 * "en" else. The region stays: it says how dates are written.
 */
export const tagOf = (wanted: readonly string[]): string =>
  wanted.find((tag) => Object.hasOwn(tables, languageOf(tag))) ?? "en";

export const stringsOf = (tag: string): Strings => tables[languageOf(tag) as Language];

export const StringsContext = createContext<Strings>(en);
export const useStrings = (): Strings => useContext(StringsContext);
