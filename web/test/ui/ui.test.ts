/** What of the page can be said without a browser. */

import { expect, onTestFinished, test, vi } from "vitest";

import { RoomOver } from "../../src/client/core.ts";
import type { FileInfo } from "../../src/client/entries.ts";
import { VaultFull, VaultLocked } from "../../src/client/vault.ts";
import {
  beginningOf,
  clock,
  dayName,
  emojiName,
  excerptOf,
  fullTime,
  hostOf,
  isoTime,
  sameDay,
  shortTime,
  textBytes,
} from "../../src/ui/format.ts";
import { isTrouble } from "../../src/ui/hooks.ts";
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

test("a message in one line is its beginning, or the name of its file", () => {
  const file = { name: "plan.txt" } as FileInfo;
  expect(excerptOf({ text: "a".repeat(300), file: undefined })).toHaveLength(200);
  expect(excerptOf({ text: "the plan", file })).toBe("the plan");
  expect(excerptOf({ text: "", file })).toBe("plan.txt");
});

test("of a long message its beginning is drawn: so many characters, or lines", () => {
  const short = "a line\n".repeat(29);
  expect(beginningOf(short)).toBe(short);
  expect(beginningOf("- a\n".repeat(999)).split("\n")).toHaveLength(30);
  expect(beginningOf("a\u2028".repeat(999))).toHaveLength(59);
  expect(beginningOf("a".repeat(9999))).toHaveLength(1500);
});

test("a message's size is what it takes on the wire", () => {
  expect(textBytes("añ")).toBe(5);
  expect(textBytes('"')).toBe(4);
});

test("days are told apart as a person counts them, over a change of clocks too", () => {
  const strings = stringsOf("en");
  const at = (day: number, hour = 12) => new Date(2026, 2, day, hour).getTime();
  expect(dayName(at(29, 1), at(29, 23), strings)).toBe("Today");
  expect(dayName(at(28, 23), at(29, 1), strings)).toBe("Yesterday");
  expect(dayName(at(29, 0), at(30, 0), strings)).toBe("Yesterday");
  expect(sameDay(at(29, 0), at(29, 23))).toBe(true);
  expect(sameDay(at(28, 23), at(29, 0))).toBe(false);
});

test("Spanish speaks to its reader, and of others", () => {
  const { changes } = stringsOf("es");
  const [ana, you] = [
    { name: "Ana", isReader: false },
    { name: "Tú", isReader: true },
  ];
  expect(changes.admit(ana, you)).toBe("Ana te ha dejado entrar");
  expect(changes.admit(you, ana)).toBe("Tú has dejado entrar a Ana");
  expect(changes.grant(ana, you)).toBe("Ana ha cambiado lo que puedes hacer");
  expect(changes.leave(ana)).toBe("Ana ha salido");
});

test("an address that is none is shown, and breaks nothing", () => {
  expect(hostOf("wss://relay.example:8443/x")).toBe("relay.example:8443");
  expect(hostOf("not an \u202e address")).toBe("not an address");
  expect(hostOf("data:x")).toBe("data:x");
  expect(hostOf("")).toBe("");
});

test("a reaction is an emoji, or a word that overruns nothing", () => {
  for (const emoji of ["👍", "❤️", "👨‍👩‍👧‍👦", "🏳️‍🌈", "👋🏽", "1️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"])
    expect(emojiName(emoji)).toBe(emoji);
  expect(emojiName("\u202eok\u0301\u0301\u0301\u0301")).toBe("oḱ\u0301\u0301");
  expect(emojiName("long ".repeat(12))).toBe("long long long l");
  expect(emojiName("\u200b")).toBe("?");
  expect(emojiName("👍".repeat(60))).toBe("👍".repeat(16));
});

test("a clock that says anything breaks no date", () => {
  vi.stubGlobal("document", { documentElement: { lang: "en" } });
  onTestFinished(() => void vi.unstubAllGlobals());
  for (const ts of [0, Number.MAX_SAFE_INTEGER]) {
    for (const shown of [clock(ts), fullTime(ts), shortTime(ts), isoTime(ts)]) {
      expect(shown).toMatch(/\d/);
    }
    expect(dayName(ts, Date.now(), stringsOf("en"))).toMatch(/\d/);
    expect(sameDay(ts, Date.now())).toBe(false);
  }
});

test("that the page was locked while it searched is no trouble; all else is", () => {
  expect([new VaultLocked(), new RoomOver("closed")].map(isTrouble)).toEqual([false, false]);
  expect([new VaultFull(), new TypeError("x"), undefined].map(isTrouble)).toEqual([
    true,
    true,
    true,
  ]);
});
