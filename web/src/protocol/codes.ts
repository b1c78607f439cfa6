/** Stable error codes of OFC/1 (docs/protocol.md, Errors). The sentences are the relay's, or `sentences`. */

export const CODES = [
  "bad_frame",
  "bad_record",
  "bad_key",
  "bad_signature",
  "too_large",
  "unsupported_version",
  "out_of_order",
  "stale_challenge",
  "wrong_transport_key",
  "wrong_relay",
  "not_attached",
  "not_found",
  "forbidden",
  "epoch_stale",
  "ctl_stale",
  "conflict",
  "counter_gap",
  "prev_mismatch",
  "fork",
  "hub_behind",
  "seen_stale",
  "cell_mismatch",
  "sid_conflict",
  "boxed_required",
  "box_list_mismatch",
  "room_closed",
  "room_full",
  "already_member",
  "root_must_hand_over",
  "invite_unknown",
  "invite_used",
  "join_not_ready",
  "evicted",
  "left",
  "quota",
  "rate_limited",
  "stalled",
  "try_again",
  "storage_failed",
  "shutting_down",
  "hub_away",
  "expired",
  "not_federated",
  "blob_gone",
  "internal",
] as const;

export type Code = (typeof CODES)[number];

/** After these the same message may succeed, once the client has caught up or waited. */
export const RETRYABLE: ReadonlySet<string> = new Set<Code>([
  "epoch_stale",
  "ctl_stale",
  "conflict",
  "counter_gap",
  "prev_mismatch",
  "seen_stale",
  "rate_limited",
  "try_again",
  "storage_failed",
  "shutting_down",
  "stalled",
  "hub_away",
]);

/** The bytes are not a well-formed frame, record or key. Anything else thrown by a decoder is a bug. */
export class Malformed extends Error {
  override readonly name = "Malformed";

  constructor(
    readonly code: Code,
    sentence: string,
  ) {
    super(sentence);
  }
}
