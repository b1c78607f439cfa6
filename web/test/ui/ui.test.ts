/** What of the page can be said without a browser. */

import { expect, test } from "vitest";

import { textBytes } from "../../src/ui/format.ts";
import { takeInvitation } from "../../src/ui/invitation.ts";
import { stringsOf, tagOf } from "../../src/ui/strings.ts";

function opened(hash: string): { invitation: string; shown: string[] } {
  const shown: string[] = [];
  const location = { hash, pathname: "/", search: "" } as Location;
  const history = {
    replaceState: (_state: unknown, _title: string, url: string) => shown.push(url),
  } as unknown as History;
  return { invitation: takeInvitation(location, history), shown };
}

test("an invite is taken out of the address bar; so is any other fragment, unread", () => {
  expect(opened("#ofc1:abc")).toEqual({ invitation: "ofc1:abc", shown: ["/"] });
  expect(opened("#something")).toEqual({ invitation: "", shown: ["/"] });
  expect(opened("")).toEqual({ invitation: "", shown: [] });
});

test("the page speaks the first language it knows, and keeps its region", () => {
  expect(tagOf(["de-DE", "es-AR", "en"])).toBe("es-AR");
  expect(tagOf(["de"])).toBe("en");
  expect(stringsOf("es-AR").rooms).toBe("Salas");
  expect(stringsOf(tagOf(["constructor"])).rooms).toBe("Rooms");
});

test("a message's size is what it takes on the wire", () => {
  expect(textBytes("añ")).toBe(5);
  expect(textBytes('"')).toBe(4);
});
