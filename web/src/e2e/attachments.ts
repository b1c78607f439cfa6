/**
 * Files in sealed chunks (docs/protocol.md, Attachments; ofcd/e2e/attachments.py).
 *
 * Chunk i of n is sealed under the file's key for exactly that place in exactly that file; the
 * message that tells of it carries the key, the size, and the hashes of the whole and of each sealed
 * chunk. What `open` returns is shown or saved only after `finish`.
 */

import { sha256 as hasher } from "@noble/hashes/sha2.js";

import { equal, utf8 } from "../protocol/bytes.ts";
import { sha256 } from "../protocol/ids.ts";
import { CHUNK_BYTES } from "../protocol/limits.ts";
import { CannotOpen, generateKey, randomBytes, seal, unseal } from "../themis/index.ts";
import { type Content, FILE_CHUNKS } from "./bodies.ts";
import { attachmentContext } from "./contexts.ts";
import { visibleText } from "./names.ts";

/** The largest file whose chunk hashes fit one message: 240 MiB. */
export const FILE_BYTES = FILE_CHUNKS * CHUNK_BYTES;
const NAME_BYTES = 200;
const LONGEST_ENDING = 16;
const DEVICES = /^(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³])\s*(\..*)?$/iu;
const MIME = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}$/;
const NO_MIME = "application/octet-stream";

export type FileFault = "too_large" | "changed" | "claims" | "altered" | "missing";

const SENTENCES: Record<FileFault, string> = {
  too_large: "the file is too large: 240 MiB fit",
  changed: "the file changed its size while it was read",
  claims: "the file's size and pieces, as its sender describes them, do not fit",
  altered: "the file, or a piece of it, is not the one its sender described",
  missing: "pieces of the file are missing",
};

/** A file that can not be sent, or is not what its sender described. */
export class FileRejected extends Error {
  override readonly name = "FileRejected";

  constructor(readonly fault: FileFault) {
    super(SENTENCES[fault]);
  }
}

export type FileContent = Extract<Content, { type: "file" }>;
/** What opening needs to know of a file. */
export type FileRef = Pick<FileContent, "blob_id" | "key" | "size" | "sha256" | "chunks">;

/** Chunks of a file of `size` bytes; an empty file has none. */
export const chunkCount = (size: number): number => Math.ceil(size / CHUNK_BYTES);
const chunkBytes = (size: number, index: number) =>
  Math.min(CHUNK_BYTES, size - index * CHUNK_BYTES);

/** Seals a file of known size, chunk after chunk, and then describes it. */
export class FileSealer {
  readonly blobId = randomBytes(16);
  readonly count: number;
  private readonly key = generateKey();
  private readonly whole = hasher.create();
  private readonly hashes: Uint8Array[] = [];

  constructor(
    private readonly room: Uint8Array,
    private readonly size: number,
  ) {
    if (size > FILE_BYTES) throw new FileRejected("too_large");
    this.count = chunkCount(size);
  }

  /** The next chunk, sealed: CHUNK_BYTES of plaintext, but for the last. */
  seal(chunk: Uint8Array): Uint8Array {
    const index = this.hashes.length;
    if (index >= this.count || chunk.length !== chunkBytes(this.size, index)) {
      throw new FileRejected("changed");
    }
    const context = attachmentContext(this.room, this.blobId, index, this.count, this.size);
    const sealed = seal(this.key, chunk, context);
    this.whole.update(chunk);
    this.hashes.push(sha256(sealed));
    return sealed;
  }

  /** What the message says of the file, once all chunks are sealed. */
  finish(name: string, mime: string, caption = "", thumb = new Uint8Array()): FileContent {
    if (this.hashes.length !== this.count) throw new FileRejected("changed");
    return {
      type: "file",
      blob_id: this.blobId,
      key: this.key,
      size: this.size,
      sha256: this.whole.digest(),
      chunks: this.hashes,
      name: safeFileName(name),
      mime: safeMime(mime),
      caption,
      thumb,
    };
  }
}

/** Opens a file chunk after chunk; throws `FileRejected` at once for claims that contradict. */
export class FileOpener {
  readonly count: number;
  private readonly whole = hasher.create();
  private next = 0;

  constructor(
    private readonly room: Uint8Array,
    private readonly ref: FileRef,
    limit = FILE_BYTES,
  ) {
    if (ref.size > limit) throw new FileRejected("claims");
    if (ref.chunks.length !== chunkCount(ref.size)) {
      throw new FileRejected("claims");
    }
    this.count = ref.chunks.length;
  }

  /** The next chunk's plaintext. */
  open(sealed: Uint8Array): Uint8Array {
    const { ref, next } = this;
    const hash = ref.chunks[next];
    if (hash === undefined || !equal(sha256(sealed), hash)) {
      throw new FileRejected("altered");
    }
    const context = attachmentContext(this.room, ref.blob_id, next, this.count, ref.size);
    const chunk = openedChunk(ref.key, sealed, context);
    if (chunk.length !== chunkBytes(ref.size, next)) {
      throw new FileRejected("altered");
    }
    this.whole.update(chunk);
    this.next += 1;
    return chunk;
  }

  /** The file is whole and is the one that was sent. */
  finish(): void {
    if (this.next !== this.count) throw new FileRejected("missing");
    if (!equal(this.whole.digest(), this.ref.sha256)) {
      throw new FileRejected("altered");
    }
  }
}

function openedChunk(key: Uint8Array, sealed: Uint8Array, context: Uint8Array): Uint8Array {
  try {
    return unseal(key, sealed, context);
  } catch (error) {
    if (!(error instanceof CannotOpen)) throw error;
    throw new FileRejected("altered");
  }
}

/** `raw` as a name to save under, on any system; "file" where nothing is left. */
export function safeFileName(raw: string): string {
  const last = raw.split(/[/\\]/u).at(-1) as string;
  const shown = visibleText(last.replace(/[<>:"|?*]/gu, "_").normalize("NFC"));
  const name = shown
    .split(" ")
    .filter(Boolean)
    .join(" ")
    .replace(/^[. ]+|[. ]+$/gu, "");
  return shortened(DEVICES.test(name) ? `_${name}` : name) || "file";
}

function shortened(name: string): string {
  if (utf8(name).length <= NAME_BYTES) return name;
  const dot = name.lastIndexOf(".");
  const isEnding = dot > 0 && utf8(name.slice(dot + 1)).length <= LONGEST_ENDING;
  const [stem, ending] = isEnding ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  let kept = "";
  for (const character of stem) {
    if (utf8(kept + character + ending).length > NAME_BYTES) break;
    kept += character;
  }
  return kept.replace(/[. ]+$/u, "") + ending;
}

/** `raw` if it has the form of a media type, in lower case; else application/octet-stream. */
export function safeMime(raw: string): string {
  const lowered = raw.trim().toLowerCase();
  return MIME.test(lowered) ? lowered : NO_MIME;
}
