/**
 * Words that are not sent yet, by room: one finds them again after a look into another room, and after
 * another tab had the keys. They are nowhere but in the memory of this page; to lock it drops them.
 */

import { createContext } from "preact";

export const UnsentContext = createContext<Map<string, string>>(new Map());
