/** What a picture claims to be, read before anything decodes it. */

import { expect, test } from "vitest";

import { isPicture, sizeOf } from "../../src/ui/pictures.ts";

const bytes = (...parts: (string | readonly number[])[]) =>
  Uint8Array.from(
    parts.flatMap((part) => (typeof part === "string" ? [...Buffer.from(part)] : part)),
  );
const u16 = (value: number) => [value >> 8, value & 255];
const SOI = [0xff, 0xd8];
/** A frame header of a JPEG. */
const frame = (width: number, height: number, marker = 0xc0) =>
  [0xff, marker, 0, 11, 8, ...u16(height), ...u16(width), 1, 1, 0x11, 0] as const;
const BOMB = frame(65_000, 65_000);

test("the size is what the head of each kind says", () => {
  const png = bytes([0x89], "PNG\r\n\x1a\n", [0, 0, 0, 13], "IHDR", [0, 0, 1, 0, 0, 0, 0, 9]);
  expect(sizeOf(png)).toEqual({ width: 256, height: 9 });
  expect(sizeOf(bytes("GIF89a", [3, 0, 2, 0]))).toEqual({ width: 3, height: 2 });
  const webp = (kind: string, rest: readonly number[]) =>
    sizeOf(bytes("RIFF", [0, 0, 0, 0], `WEBP${kind}`, [0, 0, 0, 0], rest));
  expect(webp("VP8 ", [0, 0, 0, 0x9d, 1, 0x2a, 5, 0x40, 4, 0])).toEqual({ width: 5, height: 4 });
  expect(webp("VP8L", [0x2f, 4, 0xc0, 0, 0])).toEqual({ width: 5, height: 4 });
  expect(webp("VP8X", [0, 0, 0, 0, 4, 0, 0, 3, 0, 0])).toEqual({ width: 5, height: 4 });
  const jpeg = bytes(SOI, [0xff, 0xe0, 0, 4, 1, 2], [0xff, 0xc4, 0, 2], frame(7, 5, 0xc2));
  expect(sizeOf(jpeg)).toEqual({ width: 7, height: 5 });
});

test("a JPEG's size is that of the frame that a decoder finds, or none is told", () => {
  // Fill bytes before a marker are passed over.
  expect(sizeOf(bytes(SOI, [0xff, 0xff], BOMB, frame(1, 1)))).toEqual({
    width: 65_000,
    height: 65_000,
  });
  // These have no length: what would be taken for theirs is the marker of the true frame.
  for (const marker of [0x00, 0x01, 0xd0, 0xd7, 0xd8, 0xd9]) {
    const before = bytes(SOI, [0xff, marker], BOMB);
    const told = new Uint8Array(64 * 1024).fill(0);
    told.set(before);
    told.set(frame(1, 1), 4 + ((BOMB[0] << 8) | BOMB[1]));
    expect(sizeOf(told)).toBeUndefined();
  }
  // Behind the first scan there is none.
  expect(sizeOf(bytes(SOI, [0xff, 0xda, 0, 2], frame(1, 1)))).toBeUndefined();
});

test("what is cut short, endless or no picture has no size", () => {
  expect(sizeOf(bytes())).toBeUndefined();
  expect(sizeOf(bytes(SOI))).toBeUndefined();
  expect(sizeOf(new Uint8Array(64 * 1024).fill(0xff))).toBeUndefined();
  expect(sizeOf(bytes(SOI, Array(60_000).fill(0xff)))).toBeUndefined();
  expect(sizeOf(bytes("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"))).toBe(
    undefined,
  );
});

test("only what can hold no script is a picture, up to 20 MiB", () => {
  expect(isPicture({ mime: "image/png", size: 20 * 1024 * 1024 })).toBe(true);
  expect(isPicture({ mime: "image/png", size: 20 * 1024 * 1024 + 1 })).toBe(false);
  for (const mime of ["image/svg+xml", "text/html", "image/x-icon"]) {
    expect(isPicture({ mime, size: 1 })).toBe(false);
  }
});
