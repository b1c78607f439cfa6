/** Pictures, made small in the browser. */

/** What can be drawn and can hold no script: no SVG. */
const TYPES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const HEAD_BYTES = 64 * 1024;
/** More pixels than this are not decoded: a small file can claim a picture that fills the memory. */
export const MOST_PIXELS = 40_000_000;

export const isPicture = (mime: string): boolean => TYPES.has(mime);

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

/** A frame header, among the segments of a JPEG. */
function jpegSize(view: DataView): Size | undefined {
  if (view.getUint16(0) !== 0xffd8) return undefined;
  for (let at = 2; ; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint16(at);
    if (marker >> 8 !== 0xff) return undefined;
    const isFrame =
      marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
    if (isFrame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
  }
}

/** The picture, no side of it longer than `most` pixels; undefined if it can not be drawn. */
export async function thumbnail(blob: Blob, most: number): Promise<ImageBitmap | undefined> {
  const head = new Uint8Array(await blob.slice(0, HEAD_BYTES).arrayBuffer());
  const size = sizeOf(head);
  if (size === undefined || size.width * size.height > MOST_PIXELS) return undefined;
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
