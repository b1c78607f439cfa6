/**
 * Frames: what client and relay say to each other inside a Secure Session (docs/protocol.md, Frames).
 *
 * A frame is a JSON head and raw parts. The tables below are both the codec and the types.
 */

import { Malformed } from "./codes.ts";
import { dumpJson, parseJson } from "./json.ts";
import * as limits from "./limits.ts";
import { joinParts, splitParts } from "./parts.ts";
import * as is from "./schema.ts";

/** Raw bytes of at most so many, behind the head. */
interface Part {
  readonly most: number;
}
/** All parts that are left, at most so many of them; stands last. */
interface Rest {
  readonly mostParts: number;
}

interface Layout {
  readonly head: is.Fields;
  readonly parts: { readonly [name: string]: Part | Rest };
}

type PartOf<P> = P extends Rest ? readonly Uint8Array[] : Uint8Array;
export type FrameOf<L extends Layout> = is.Infer<L["head"]> & {
  readonly [name in keyof L["parts"]]: PartOf<L["parts"][name]>;
};

const part = (most: number): Part => ({ most });
const rest = (mostParts: number): Rest => ({ mostParts });

function frame<H extends is.Fields>(head: H): { head: H; parts: Record<never, never> };
function frame<H extends is.Fields, P extends Layout["parts"]>(
  head: H,
  parts: P,
): { head: H; parts: P };
function frame(head: is.Fields, parts: Layout["parts"] = {}): Layout {
  return { head, parts };
}

const rid = is.int();
const room = is.b32;
const record = part(limits.RECORD_BYTES);
const joinRequest = part(limits.JOIN_REQUEST_BYTES);
const keyRequest = part(limits.KEY_REQUEST_BYTES);
const control = part(limits.CONTROL_BYTES);
const cell = part(limits.EVENT_BYTES);
const box = part(limits.BOX_BYTES);
const chunk = part(limits.SEALED_CHUNK_BYTES);
const signal = part(limits.SIGNAL_BYTES);
/** How a relay came to its key from its first one: signed SUCCESSIONs, the oldest first. */
const succession = rest(limits.SUCCESSIONS);
const shortText = is.text(limits.SHORT_TEXT);
/** The relay that orders the room, and its address, where that is another one than the link's. */
const hub = { hub: is.optional(is.b32), hub_url: is.optional(is.text(limits.URL_TEXT), "") };

export interface HubFields {
  readonly hub: Uint8Array | undefined;
  readonly hub_url: string;
}

/** For rooms of the link's own relay. */
export const NO_HUB: HubFields = { hub: undefined, hub_url: "" };

const relayLimits = is.object({
  event_bytes: is.int(),
  blob_bytes: is.int(),
  room_members: is.int(),
  events_per_second: is.int(),
  requests_in_flight: is.int(),
});

export const clientFrames = {
  hello: frame({
    versions: is.list(is.int(), limits.VERSIONS, 1),
    software: is.optional(shortText, ""),
  }),
  create: frame({ rid, token: is.optional(shortText, "") }, { record }),
  attach: frame({ rid, ...hub }, { record: part(limits.ATTACH_BYTES) }),
  detach: frame({ rid, room }),
  sync: frame({ rid, room, start: is.int(), log: is.optional(is.b32) }),
  cursor: frame({ room, seq: is.int() }),
  post: frame({ rid, room }, { record, cell }),
  control: frame({ rid, room }, { record: control, boxes: rest(limits.ROOM_MEMBERS) }),
  chain_get: frame({ rid, room, start: is.int() }),
  lookup: frame({
    rid,
    room,
    invite_id: is.b16,
    proof: is.b32,
    start: is.optional(is.int(), 0),
    ...hub,
  }),
  join: frame({ rid, ...hub }, { record: joinRequest }),
  join_answer: frame({ rid, room }, { record }),
  join_confirm: frame({ rid, room, ...hub }, { record }),
  key_request: frame({ rid, room }, { record: keyRequest }),
  key_answer: frame({ rid, room }, { record, box }),
  signal: frame({ room, epoch: is.int() }, { cell: signal }),
  blob_put: frame({ rid, room, blob: is.b16, index: is.int(), count: is.int(1) }, { chunk }),
  blob_get: frame({ rid, room, blob: is.b16, index: is.int() }),
  blob_drop: frame({ rid, room, blob: is.b16, uploader: is.b32 }),
  peer: frame({ rid }, { record: part(limits.ATTACH_BYTES), succession }),
} satisfies Record<string, Layout>;

export const relayFrames = {
  welcome: frame(
    {
      version: is.int(),
      challenge: is.b32,
      relay_limits: relayLimits,
      ts: is.int(),
      name: is.optional(shortText, ""),
      software: is.optional(shortText, ""),
    },
    { succession },
  ),
  failure: frame({
    rid,
    code: is.text(),
    text: is.text(),
    seq: is.optional(is.int()),
    event_id: is.optional(is.b32),
    retry_after: is.optional(is.int()),
  }),
  done: frame({ rid }),
  ack: frame({ rid, event_id: is.b32, seq: is.int(), log: is.b32, sid: is.optional(is.b16) }),
  moved: frame({ room }, { records: rest(limits.MOVES_TOLD) }),
  attached: frame({
    rid,
    room,
    seq: is.int(),
    log: is.b32,
    cursor: is.int(),
    counter: is.optional(is.int(), 0),
    last: is.optional(is.b32),
  }),
  synced: frame({ rid, room, start: is.int(), floor: is.int(), log: is.b32, head: is.int() }),
  delivery: frame({ room, seq: is.int() }, { record: control, cell }),
  box: frame({ room, seq: is.int() }, { box }),
  feed_key: frame({ room, number: is.int() }, { key: part(32) }),
  bulk: frame({ room, number: is.int(), hash: is.b32 }),
  head: frame({ room, key: is.optional(is.key) }, { record }),
  chain_page: frame(
    { rid, room, seqs: is.list(is.int(), limits.PAGE_RECORDS), more: is.bool },
    { records: rest(limits.PAGE_RECORDS) },
  ),
  join_status: frame({ rid, room, invite_id: is.b16, state: is.text() }, { record }),
  join_asked: frame({ room }, { record: joinRequest }),
  join_answer: frame({ rid, room }, { record }),
  join_confirmed: frame({ room }, { record }),
  key_asked: frame({ room }, { record: keyRequest }),
  key_answered: frame({ room }, { record, box }),
  signalled: frame({ room, mid: is.b32, epoch: is.int() }, { cell: signal }),
  removed: frame({ room, code: is.text() }, { record: control }),
  blob: frame({ rid, count: is.int() }, { chunk }),
  queued: frame({ rid, event_id: is.b32, sid: is.b16 }),
  returned: frame({
    room,
    sid: is.b16,
    event_id: is.b32,
    code: is.text(),
    text: is.text(),
    seq: is.optional(is.int()),
    last: is.optional(is.b32),
  }),
  evidence: frame(
    { room, code: is.text(), key: is.optional(is.key) },
    { records: rest(limits.EVIDENCE_RECORDS) },
  ),
  successions: frame({ relay_id: is.b32 }, { records: succession }),
  peered: frame({ rid }, { record: part(limits.ATTACH_BYTES) }),
} satisfies Record<string, Layout>;

type Tagged<Table extends Record<string, Layout>> = {
  [name in keyof Table & string]: { readonly type: name } & FrameOf<Table[name]>;
}[keyof Table & string];

export type ClientFrame = Tagged<typeof clientFrames>;
export type RelayFrame = Tagged<typeof relayFrames>;

function encode(layout: Layout, { type, ...values }: { readonly type: string }): Uint8Array {
  const fields = values as Record<string, unknown>;
  const parts = [dumpJson({ type, ...is.writeFields(layout.head, fields) })];
  for (const [name, part] of Object.entries(layout.parts)) {
    if ("mostParts" in part) parts.push(...(fields[name] as readonly Uint8Array[]));
    else parts.push(fields[name] as Uint8Array);
  }
  return joinParts(parts);
}

export const encodeClientFrame = (values: ClientFrame): Uint8Array =>
  encode(clientFrames[values.type], values);
/** For tests that play the relay. */
export const encodeRelayFrame = (values: RelayFrame): Uint8Array =>
  encode(relayFrames[values.type], values);

function decode(table: Record<string, Layout>, raw: Uint8Array): { readonly type: string } {
  if (raw.length > limits.FRAME_BYTES) throw new Malformed("too_large", "a frame is too large");
  const [head, ...parts] = splitParts(raw, limits.FRAME_PARTS);
  if (head === undefined) throw new Malformed("bad_frame", "the frame is empty");
  const { type, ...fields } = parseJson(head, limits.FRAME_HEAD_BYTES);
  const layout = typeof type === "string" && Object.hasOwn(table, type) ? table[type] : undefined;
  if (layout === undefined) throw new Malformed("bad_frame", "the frame is of no known type");
  const taken = takeParts(layout, parts);
  if (Object.keys(taken).some((name) => name in fields)) {
    throw new Malformed("bad_frame", "a part of the frame stands in its head");
  }
  return { type: type as string, ...is.readFields(layout.head, fields), ...taken };
}

function takeParts(layout: Layout, parts: Uint8Array[]): Record<string, unknown> {
  const taken: Record<string, unknown> = {};
  for (const [name, part] of Object.entries(layout.parts)) {
    taken[name] = "mostParts" in part ? takeRest(part, parts) : takeOne(part, parts);
  }
  if (parts.length > 0) throw new Malformed("bad_frame", "the frame has parts too many");
  return taken;
}

function takeOne(part: Part, parts: Uint8Array[]): Uint8Array {
  const raw = parts.shift();
  if (raw === undefined) throw new Malformed("bad_frame", "a part of the frame is missing");
  if (raw.length > part.most) throw new Malformed("bad_record", "a part of the frame is too large");
  return raw;
}

function takeRest(part: Rest, parts: Uint8Array[]): readonly Uint8Array[] {
  if (parts.length > part.mostParts) {
    throw new Malformed("bad_record", "the frame has parts too many");
  }
  return parts.splice(0);
}

/** The frame a relay sent; throws `Malformed`. */
export const decodeRelayFrame = (raw: Uint8Array): RelayFrame =>
  decode(relayFrames, raw) as RelayFrame;
/** For tests that play the relay. */
export const decodeClientFrame = (raw: Uint8Array): ClientFrame =>
  decode(clientFrames, raw) as ClientFrame;
