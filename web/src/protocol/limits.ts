/** Hard bounds of OFC/1; the reason for each stands in ofcd/protocol/limits.py. */

export const KIB = 1024;
export const MIB = 1024 * KIB;

export const INT_MAX = Number.MAX_SAFE_INTEGER;
export const JSON_DEPTH = 8;

export const FRAME_BYTES = MIB;
export const LINK_MESSAGE_BYTES = 2 * MIB;
export const FRAME_HEAD_BYTES = 64 * KIB;
export const FRAME_PARTS = 1024;
export const FRAMES_PER_MESSAGE = 4096;
export const TRAILER_PARTS = 64;
export const FEEDS = 4096;
export const RECORD_BYTES = 16 * KIB;
export const ATTACH_BYTES = KIB;
export const KEY_REQUEST_BYTES = KIB;
export const JOIN_REQUEST_BYTES = 10 * KIB;
export const EVENT_BYTES = 64 * KIB;
export const CONTROL_BYTES = 128 * KIB;
export const BOX_BYTES = 4 * KIB;
export const CHUNK_BYTES = 256 * KIB;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + KIB;
export const BLOB_CHUNKS = 4096;
export const SIGNAL_BYTES = KIB;

export const ROOM_MEMBERS = 500;
export const ADMITTERS = 8;
export const OPEN_INVITES = 50;
export const JOIN_TRIES = 3;
export const CAPS = 8;
export const SHORT_TEXT = 128;
export const URL_TEXT = 512;
export const DOMAIN_TEXT = 253;
export const RELAY_URLS = 4;
export const SUCCESSIONS = 8;
export const SUCCESSION_BYTES = KIB;
export const MOVES_TOLD = 8;
export const EVIDENCE_RECORDS = 8;
export const VERSIONS = 8;
export const PAGE_RECORDS = 500;
/** Of a control log that is read whole, with so many for each record beside its own bytes. */
export const CHAIN_BYTES = 64 * MIB;
export const CHAIN_OVERHEAD = 128;
