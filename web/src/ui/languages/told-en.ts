/** A sentence in English for each code of client/told.ts; see sentences.ts for the places in braces. */

import type { ToldCode } from "../../client/told.ts";

const code = (why: string) =>
  `${why}. Reload the page; if it comes again, ask whoever runs the relay`;
const pieced = "It may have been changed on its way";

export const told = {
  bad_frame: code("The relay did not understand this browser (bad_frame)"),
  bad_record: code("A record is not as it should be (bad_record)"),
  bad_key: "A key is not as it should be (bad_key)",
  bad_signature: "A signature does not hold (bad_signature)",
  too_large: "It is too large for this relay",
  unsupported_version:
    "The other side speaks a version that this one does not know: one is too old",
  out_of_order: code("A message came out of its order (out_of_order)"),
  stale_challenge: code("The connection was another one meanwhile (stale_challenge)"),
  wrong_transport_key: code("The connection was another one meanwhile (wrong_transport_key)"),
  wrong_relay: "You are at home at another relay than this one: choose yours under Members",
  not_attached: "The relay had this room closed on your connection: try again",
  not_found: "The relay does not know this room, or you are not in it",
  forbidden: "Your role, or the relay's rules, do not allow it",
  epoch_stale: "The room got a new key just now: try again",
  ctl_stale: "The room changed just now: try again",
  conflict: "Somebody else changed the room at the same moment: try again",
  counter_gap: "Your messages came in another order than they were sent: try again",
  prev_mismatch: "Your messages came in another order than they were sent: try again",
  fork: "The relay shows this browser another history than it showed before: it may not be trusted",
  hub_behind: "The relay has lost the end of the room's history: it may have it again later",
  seen_stale: "This browser was too far behind: try again",
  cell_mismatch: code("A message and its envelope do not belong together (cell_mismatch)"),
  sid_conflict: "This very message was sent before",
  boxed_required: "An owner has to renew the room's key first: try again in a moment",
  box_list_mismatch: "The members changed just now: try again",
  room_closed: "The room was closed: everybody has left",
  room_full: "The room is full",
  already_member: "Whoever asks is, or was, in the room with the same keys",
  root_must_hand_over: "The owner has to hand the room over first",
  invite_unknown: "The invite was used, taken back or has expired: ask for a new one",
  invite_used: "Somebody else used this invite: ask for a new one",
  join_not_ready: "Nobody has answered yet: it goes on by itself",
  evicted: "You were removed from the room",
  left: "You have left the room",
  quota: "The relay, or the room, has no more room for this: less, or later",
  rate_limited: "That was too much at once: wait a moment",
  stalled: "The room waits until an owner renews its key",
  try_again: "The relay is busy: try again in a moment",
  storage_failed: "The relay could not store it: try again in a moment",
  shutting_down: "The relay is being restarted: try again in a moment",
  hub_away: "The room's own relay is away: yours waits for it",
  expired: "It waited too long at your relay for the room's own",
  not_federated: "The two relays do not talk to each other: ask whoever runs yours",
  blob_gone: "The file is no longer there: ask who sent it",
  internal: "The relay made a mistake: try again in a moment",
  refused: "The relay refuses it, for a reason that this page does not know ({1})",

  "join.malformed": "The answer is not as it should be",
  "join.wrong_room": "The answer is of another room or relay",
  "join.invite_unknown": "The invite was used, taken back or has expired: ask for a new one",
  "join.invite_expired": "The invite has expired: ask for a new one",
  "join.not_an_admitter": "Somebody answered who may not let anybody in by this invite",
  "join.bad_signature": "What came was not signed by who it says: somebody may stand in between",
  "join.bad_key": "The room lists another key beside your name than yours: do not use it",
  "join.bad_chain":
    "What the relay shows of the room does not bear out the invite: somebody may stand in between",
  "join.bad_cell": "The sealed answer does not open: ask for a new invite",
  "join.wrong_transcript": "The answer is to another question than yours",
  "join.bad_proof":
    "Somebody tried to get in by an invite without having its link: take it back, and make a new one",
  "join.bad_box": "What somebody sent who asks in does not open or does not fit",
  "join.already_member": "Whoever asks is, or was, in the room with the same keys",
  "join.invite_used":
    "Two people used the same invite link: somebody else may have seen it. Make a new one for each",
  "join.epoch_moved": "The room got a new key meanwhile: it goes on by itself",

  "log.gap": "The relay left something out before entry {1}: it is asked again",
  "log.not_a_record": "The relay delivered as entry {1} what is no record",
  "log.fork": "At entry {1} somebody was shown another history than you",
  "log.stale_seen": "Whoever wrote entry {1} had not seen the room for very long",
  "log.sender_gap": "Of the member who wrote entry {1}, a message before it is missing",
  "log.sender_prev": "Of the member who wrote entry {1}, another message stood before it",
  "log.sender_fork": "The member who wrote entry {1} says two things at once under one number",
  "log.replay": "Entry {1} was delivered before: the relay repeats it",
  "log.voided": "Entry {1} was taken back by the member who wrote it, and came after all",
  "log.bad_head": "What the relay signed about entry {1} does not hold",
  "log.equivocation": "The room's relay has signed two different histories up to entry {1}",

  "unreadable.not_an_event": "it is no message",
  "unreadable.wrong_room": "it belongs to another room",
  "unreadable.not_a_member": "its sender was not in the room",
  "unreadable.may_not_post": "its sender was not allowed to write",
  "unreadable.may_not_attach": "its sender was not allowed to send files",
  "unreadable.bad_signature": "its signature does not hold",
  "unreadable.wrong_epoch": "it is sealed under a key of another time",
  "unreadable.stale_control": "its sender did not know the room as it was",
  "unreadable.cell_gone": "the relay no longer has it",
  "unreadable.cell_mismatch": "the relay delivered another text than was signed",
  "unreadable.missing_key": "its key is not here yet",
  "unreadable.key_lost": "its key never came here",
  "unreadable.bad_seal": "it does not open: it was changed, or sealed under another key",
  "unreadable.bad_body": "what is in it is not as it should be",
  "unreadable.inner_mismatch": "it says inside that it is another message",
  "unreadable.not_a_bridge": "it speaks for somebody elsewhere, and its sender is no bridge",

  "file.too_large": "240 MiB fit, and it is larger",
  "file.changed": "it changed while it was read: send it again",
  "file.claims": "its size and pieces, as its sender describes them, do not fit",
  "file.altered": `it is not the one that its sender described. ${pieced}`,
  "file.missing": `pieces of it are missing. ${pieced}`,

  "body.too_long": "it is too long for one message: split it",
  "body.invalid": "it holds what can not be sent",

  "vault.there": "There are keys in this browser already: reload the page",
  "vault.missing": "There are no keys in this browser any more: reload the page",
  "vault.passphrase": "This is not the passphrase. Try again.",
  "vault.damaged":
    "What is kept in this browser was changed from outside, and can not be trusted. You can only forget it and be invited again.",
  "vault.full":
    "This browser has no room left: nothing new can be kept. Free some space on this device; what is here is safe.",
  "vault.locked": "Your keys were locked meanwhile, or are used in another tab",
  "vault.not_removed":
    "This browser did not let it be removed: close all its other tabs, and try again",
  "vault.not_read": "This browser could not read what it keeps: reload the page",
  "vault.not_written": "This browser could not write it down: try again, or reload the page",

  relay_away: "The relay can not be reached just now. Try again in a moment.",
  not_that_relay:
    "Another relay answers at {1} than the one with that id. Nothing was done: check both with whoever runs it",
  other_relay:
    "Another relay answers at {1} than the one known there: whoever runs it has changed its key, or somebody stands in its place. Ask them, over another way.",
  relay_key_new:
    "The relay at {1} has replaced its key. Its old key has signed for the new one, and this browser goes on with it: there is nothing to do.",
  relay_key_old:
    "The relay at {1} shows a key that it has replaced: it was put back to an old backup, or somebody has that key. Ask whoever runs it.",
  relay_key_two:
    "Two keys claim to follow the same old key of the relay at {1}: somebody else has that key, or it was replaced twice. This browser stays with the one it knew first. Ask whoever runs the relay, over another way.",
  key_missing: "its key is not here",
  key_rejected:
    "The room key that somebody gave this browser is not the one that the room's log names. It was not taken: ask the room's owner, over another way.",
  key_replaced:
    "Your encryption key was replaced, and the new one is not here. If you have not put back an older copy, somebody has your keys: have an owner remove you, and join anew",
  key_old:
    "The room's key is long overdue to be renewed: an owner has to come online, in the browser or with ofc",
  join_abandoned:
    "Somebody was given the room's key by an invite and never came in. The invite is closed, and an owner's client renews the key; who invited them should ask",
  unverifiable: "The relay delivered a record that does not hold. {*}",
  relay_behind:
    "The relay has lost part of the room's history: nothing is sent until it has it again",
  copy_behind:
    "Your relay's copy of this room is behind what you have seen: it is asked again until it has caught up, and what you write waits. If that does not end, ask whoever runs it, or go to another relay under Members.",
  two_logs: "The room's relay has signed two different histories up to entry {1}",
  hub_word: "The room's relay has signed another history up to entry {1} than was delivered here",
  member_word: "{2} has signed another history up to entry {1} than was delivered here",
  unproven:
    "Your relay says that this room's own relay shows two histories, but proves nothing: the room goes on here, and what you write waits. Ask whoever runs your relay.",
  home_unknown:
    "You are at home at a relay whose address this browser does not know, so it uses the room's own. Choose a relay under Members.",
  eviction_void:
    "{*} had been removed, and is in the room again: its owner moved the room to a relay that did not have the removal. An owner has to remove them anew.",
  removal_void:
    "You had been removed from this room, and are in it again: its owner moved the room to a relay that did not have the removal. An owner may remove you anew.",
  admission_void:
    "The owner moved this room to a relay that did not have your admission: you are not in the room any more. Ask for a new invite.",
  two_moves:
    "The owner has signed two moves of this room that can not both be. One of them counts for everybody. Ask the owner which is meant.",
  move_unknown:
    "The owner moved this room because its relay is gone for good, and this browser can not tell what of it still holds. Ask an owner to remove you, and to invite you anew.",
  "move.already_there": "That relay orders this room already",
  "move.no_copy": "Nobody of this room is at home at that relay: it has no copy of it",
  "move.other_log":
    "That relay's copy is of another history than was shown here: do not go on from it",
  "move.copy_lacks":
    "That relay's copy lacks a change of the room that you have seen (a removal, say), which would come to nothing: so nothing was done. Take the copy of another relay; if none has it, have the old relay put back from its backup, or make a new room.",
  "move.copy_changed": "That relay's copy has changed meanwhile: look again",
  "move.other_meant":
    "That relay says that another one is to go on with the room: check its address, or take the copy of another relay",
  "move.not_taken":
    "That relay does not take the room over: whoever runs it may have to allow that, or by its copy you are not the owner. Ask them, or take the copy of another relay",
  "move.moved_often":
    "The room was moved too often since its key was last renewed: renew the key first, where the room is reached now",
  "move.copy_busy":
    "That relay still hears from the room's own, and catches up with it, so nothing was done: try again in a minute. If that one is there after all, move the room with it.",
  "move.term_signed":
    "You have signed that the room goes on from a copy, and that may stand at some relay: it would take this move back. Have the room go on from a copy instead, below.",
  "move.unanswered":
    "That relay went away before it answered, so nobody knows yet whether the room has moved. This browser asks it again as soon as it is back: wait for that before you choose another copy.",
  move_failed: "The room was to go on from the copy of another relay, and did not. {*}",
  file_stays: "The relay keeps, sealed, a file that you deleted. {*}",
  out_void:
    "What this is about came to nothing when the owner moved the room: if somebody says that again, do this again, too",
  out_unknown:
    "This browser was out of the room before it heard whether this had been sent: look, and say it again if it is not there",
  out_put_back:
    "What this browser keeps was put back to an earlier state, and what was sent after that is no longer at the relay: this may have been said already",
  out_gone: "You are no longer in this room",
  out_gone_doubtful: "You are no longer in this room (this one may have been sent before that)",
  browser: "Your browser did not let this page do it ({1})",
  bug: "The page made a mistake; reload it. It says: {1} {2}",
} satisfies Record<ToldCode, string>;
