/**
 * What a person is told, in no language yet: a code, and behind a space what its sentence names. The
 * page has a sentence for each code (ui/languages); none of them is written by a relay or a member.
 */

import { type FileFault, FileRejected } from "../e2e/attachments.ts";
import { type BodyFault, BodyInvalid } from "../e2e/bodies.ts";
import { KeyMissing, KeyRejected } from "../e2e/epochs.ts";
import { type Reason, Unreadable } from "../e2e/events.ts";
import { type JoinFault, JoinRejected } from "../e2e/joining.ts";
import { type Fault, LogBroken } from "../e2e/log.ts";
import { displayName } from "../e2e/names.ts";
import { CODES, type Code, Malformed } from "../protocol/codes.ts";
import { Refused } from "../protocol/room.ts";
import { LinkLost, RelayRefused } from "../wire/link.ts";
import { type MoveFault, NotMoved } from "./notmoved.ts";
import { OtherRelay } from "./relays.ts";
import { VaultError, type VaultFault } from "./vault.ts";

export type ToldCode =
  | Code
  | `join.${JoinFault}`
  | `log.${Fault}`
  | `unreadable.${Reason}`
  | `file.${FileFault}`
  | `body.${BodyFault}`
  | `vault.${VaultFault}`
  /** The relay refuses for a reason that this page does not know. */
  | "refused"
  | "relay_away"
  | "other_relay"
  /** Another relay answers than the one whose id a person gave. */
  | "not_that_relay"
  /** It has another key, and the one before has signed for it. */
  | "relay_key_new"
  /** It shows a key that it has replaced; its key was passed on to two. */
  | "relay_key_old"
  | "relay_key_two"
  | "key_missing"
  | "key_rejected"
  /** One's own, by a vault that was put back, or by somebody who has the keys. */
  | "key_replaced"
  /** No owner came to renew the room's; somebody has it by an invite, and never came in. */
  | "key_old"
  | "join_abandoned"
  /** The relay delivered a record that does not hold: why, as a code. */
  | "unverifiable"
  | "relay_behind"
  /** One's own relay, which is not the room's: it may catch up. */
  | "copy_behind"
  /** A proof: of the hub's two logs, of its own word, of a member's. */
  | "two_logs"
  | "hub_word"
  | "member_word"
  | "unproven"
  | "home_unknown"
  /** Root moved the room by force: who is in it again by that, and who is not any more. */
  | "eviction_void"
  | "admission_void"
  | "removal_void"
  | "two_moves"
  /** What still holds can not be told here. */
  | "move_unknown"
  | `move.${MoveFault}`
  /** One that was under way when the page was closed did not come about: why, as a code. */
  | "move_failed"
  /** The relay does not forget an attachment: why, as a code. */
  | "file_stays"
  /** What became of a message that nobody knows to have been sent. */
  | "out_unknown"
  | "out_put_back"
  /** What it is about came to nothing. */
  | "out_void"
  | "out_gone"
  | "out_gone_doubtful"
  /** The browser would not. */
  | "browser"
  /** A mistake of this program's own. */
  | "bug";

/** A code, or a code and what its sentence names; "" nothing. */
export type Told = string;

/** Characters of a name or an address in a sentence. */
const DETAIL_CHARACTERS = 200;
const known: ReadonlySet<string> = new Set(CODES);

export const told = (code: ToldCode, detail: string | number = ""): Told =>
  `${code} ${displayName(String(detail), DETAIL_CHARACTERS)}`.trimEnd();

/** What the relay says by a code: its own sentence may say anything. */
export const refusedWith = (code: string): Told => (known.has(code) ? code : told("refused", code));

/** What is wrong, for a person. */
export function toldOf(error: unknown): Told {
  if (error instanceof RelayRefused) return refusedWith(error.code);
  if (error instanceof Refused || error instanceof Malformed) return error.code;
  if (error instanceof JoinRejected) return told(`join.${error.fault}`);
  if (error instanceof LogBroken) return told(`log.${error.fault}`, error.seq);
  if (error instanceof Unreadable) return told(`unreadable.${error.reason}`);
  if (error instanceof FileRejected) return told(`file.${error.fault}`);
  if (error instanceof BodyInvalid) return told(`body.${error.fault}`);
  if (error instanceof VaultError) return told(`vault.${error.fault}`);
  if (error instanceof KeyMissing) return told("key_missing");
  if (error instanceof KeyRejected) return told("key_rejected");
  if (error instanceof NotMoved) return told(`move.${error.fault}`);
  if (error instanceof OtherRelay)
    return told(error.isPinned ? "not_that_relay" : "other_relay", error.url);
  if (error instanceof LinkLost) return told("relay_away");
  if (error instanceof DOMException) return told("browser", error.name);
  return told("bug", error instanceof Error ? error.message : String(error));
}
