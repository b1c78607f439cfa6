/** Pictures, made small in the browser: nothing of a file but its pixels comes through. */

import { THUMB_BYTES } from "../e2e/bodies.ts";
import { MIB } from "../protocol/limits.ts";

/** What can be drawn and can hold no script: no SVG. */
const TYPES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const HEAD_BYTES = 64 * 1024;
/** More pixels than this are not decoded: a small file can claim a picture that fills the memory. */
export const MOST_PIXELS = 40_000_000;
/** More than this is not decoded in the page. */
const PICTURE_BYTES = 20 * MIB;
/** The longer side of what is shown between messages. */
export const SMALL_PX = 360;
/** What a thumbnail may claim, whoever made it. */
const THUMB_PIXELS = 512 * 512;
/** Tried in this order until one is short enough: the longer side, and the JPEG's quality. */
const THUMBS = [
  [SMALL_PX, 0.7],
  [SMALL_PX, 0.45],
  [240, 0.45],
  [120, 0.4],
] as const;
/** How far off a colour may come back from a canvas. */
const NOISE = 8;

/** Whether a file is a picture that can be shown, as far as its sender's word goes. */
export const isPicture = ({ mime, size }: { mime: string; size: number }): boolean =>
  TYPES.has(mime) && size <= PICTURE_BYTES;

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The size that a picture claims in its head; undefined if it is no picture of a known kind. */
export function sizeOf(head: Uint8Array): Size | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  try {
    return pngSize(view) ?? gifSize(view) ?? webpSize(view) ?? jpegSize(view);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // cut short
    throw error;
  }
}

function pngSize(view: DataView): Size | undefined {
  if (view.getUint32(0) !== 0x89504e47) return undefined;
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

function gifSize(view: DataView): Size | undefined {
  if (view.getUint32(0) !== 0x47494638) return undefined;
  return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
}

const u24 = (view: DataView, at: number) =>
  view.getUint16(at, true) | (view.getUint8(at + 2) << 16);

function webpSize(view: DataView): Size | undefined {
  if (view.getUint32(0) !== 0x52494646 || view.getUint32(8) !== 0x57454250) return undefined;
  const kind = view.getUint32(12);
  if (kind === 0x56503858) return { width: u24(view, 24) + 1, height: u24(view, 27) + 1 };
  if (kind === 0x5650384c) {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (kind !== 0x56503820) return undefined;
  const [width, height] = [view.getUint16(26, true), view.getUint16(28, true)];
  return { width: width & 0x3fff, height: height & 0x3fff };
}

/** A frame header, among the segments of a JPEG; in none but the order that decoders read them. */
function jpegSize(view: DataView): Size | undefined {
  if (view.getUint16(0) !== 0xffd8) return undefined;
  for (let at = 2; ; at += 2 + view.getUint16(at + 2)) {
    while (view.getUint16(at) === 0xffff) at += 1; // fill bytes
    const marker = view.getUint16(at);
    // Those have no length, or come after the frame: what followed would be another frame's.
    if (marker < 0xffc0 || (marker >= 0xffd0 && marker <= 0xffda)) return undefined;
    const isFrame =
      marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
    if (isFrame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
  }
}

/** The picture, no side of it longer than `most` pixels; undefined if it can not be drawn. */
export async function thumbnail(
  blob: Blob,
  most: number,
  pixels = MOST_PIXELS,
): Promise<ImageBitmap | undefined> {
  const head = new Uint8Array(await blob.slice(0, HEAD_BYTES).arrayBuffer());
  const size = sizeOf(head);
  if (size === undefined || size.width * size.height > pixels) return undefined;
  const scale = Math.min(1, most / Math.max(size.width, size.height, 1));
  try {
    const whole = await createImageBitmap(blob);
    if (scale === 1) return whole;
    const small = await createImageBitmap(whole, {
      resizeWidth: Math.max(1, Math.round(whole.width * scale)),
      resizeHeight: Math.max(1, Math.round(whole.height * scale)),
      resizeQuality: "medium",
    });
    whole.close();
    return small;
  } catch {
    return undefined; // damaged, whatever its head says
  }
}

/** A thumbnail that a member has sent; undefined where it is anything but a small picture. */
export const received = (thumb: Uint8Array): Promise<ImageBitmap | undefined> =>
  thumbnail(new Blob([new Uint8Array(thumb)]), SMALL_PX, THUMB_PIXELS);

/** A file as a JPEG of at most `THUMB_BYTES`; undefined if it is no picture, or none comes of it. */
export async function makeThumb(file: Blob): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (!isPicture({ mime: file.type, size: file.size }) || !readsBack()) return undefined;
  const image = await thumbnail(file, SMALL_PX);
  if (image === undefined) return undefined;
  try {
    for (const [side, quality] of THUMBS) {
      const made = await encoded(image, side, quality);
      if (made !== null && made.size <= THUMB_BYTES)
        return new Uint8Array(await made.arrayBuffer());
    }
    return undefined;
  } finally {
    image.close();
  }
}

function encoded(image: ImageBitmap, side: number, quality: number): Promise<Blob | null> {
  const scale = Math.min(1, side / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  const context = canvas.getContext("2d");
  if (context === null) return Promise.resolve(null);
  context.fillStyle = "white"; // a JPEG has no transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
}

/** Whether what was drawn can be read: browsers that hide what machine they run on give noise. */
function readsBack(): boolean {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  if (context === null) return false;
  const wanted = [192, 96, 48];
  context.fillStyle = `rgb(${wanted.join(" ")})`;
  context.fillRect(0, 0, 8, 8);
  const { data } = context.getImageData(0, 0, 8, 8);
  return data.every((value, at) => Math.abs(value - (wanted[at % 4] ?? 255)) <= NOISE);
}
