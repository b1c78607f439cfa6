"""Hard bounds of OFC/1, with the reason for each; a relay may set lower ones (protocol.md §3)."""

from __future__ import annotations

from typing import Final

__all__: list[str] = []

KIB: Final = 1024
MIB: Final = 1024 * KIB

INT_MAX: Final = 2**53 - 1
"""The largest integer that JSON carries unharmed through every language."""
JSON_DEPTH: Final = 8
"""Deeper than any record of ours; shallow enough that no parser recurses far."""

FRAME_BYTES: Final = 1 * MIB
"""One frame: a page of history, or one attachment chunk with room to spare."""
LINK_MESSAGE_BYTES: Final = 2 * MIB
"""One sealed message on the link: a batch of frames; bounds what a peer makes us allocate."""
HEAD_BYTES: Final = 4 * KIB
"""The JSON head of one client frame: the longest has under 1 KiB."""
HEADS_BYTES: Final = 64 * KIB
"""JSON heads of one client message together, 128 bytes added for each frame: what a relay has to
parse before it knows whether it may refuse. Two hundred requests; parsed in some 10 ms at worst."""
PREAUTH_BYTES: Final = 4 * KIB
"""Before the handshake ends nobody is anybody: a handshake message is under 300 bytes."""
FRAME_PARTS: Final = 1024
"""Parts of one frame: more than the boxes of the largest room."""
TRAILER_PARTS: Final = 64
"""Sealed bulks in one link message: more than one sender ever puts there."""
FEEDS: Final = 4096
"""Rooms whose feed keys one client link remembers: far more than a link attaches to."""
RECORD_BYTES: Final = 16 * KIB
"""Any other signed record that is no control record: a JOIN_RESP with the names of a large room."""
ATTACH_BYTES: Final = 1 * KIB
"""A signed ATTACH: about 420 bytes, all of fixed size. Anyone may send one."""
KEY_REQUEST_BYTES: Final = 1 * KIB
"""A signed KEY_REQ: about 300 bytes, all of fixed size. Kept, one a member."""
JOIN_REQUEST_BYTES: Final = 10 * KIB
"""A signed JOIN_REQ with eight boxes: about 6 kB, and 9 kB with the longest name, which is in each
box. Kept until it is answered."""
EVENT_BYTES: Final = 64 * KIB
"""An event's signed header and its sealed cell together."""
CONTROL_BYTES: Final = 128 * KIB
"""A control record: a boxed rotation lists 500 members in about 48 kB."""
BOX_BYTES: Final = 4 * KIB
"""One sealed key box: about 500 bytes."""
CHUNK_BYTES: Final = 256 * KIB
"""One attachment chunk before sealing."""
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + 1 * KIB
"""One attachment chunk as the relay sees it: Secure Cell adds 44 bytes."""
BLOB_CHUNKS: Final = 4096
"""Chunks of one attachment: 1 GiB, far over any relay's default."""
SIGNAL_BYTES: Final = 1 * KIB
"""A sealed ephemeral signal (typing, presence)."""

ROOM_MEMBERS: Final = 500
"""Members of one room: what one boxed rotation can carry."""
ADMITTERS: Final = 8
"""Members who may answer one invite: each costs the joiner one box."""
OPEN_INVITES: Final = 50
"""Invites open in one room at once."""
KEY_RENEWALS: Final = 3
"""UPDATE_Es of one member between two boxed REKEYs: by itself, and after a restored backup.

An owner has one more: without a key of its own it could not make the boxed REKEY.
"""
JOIN_TRIES: Final = 3
"""Different join requests that one invite may see."""
HANDOVER_RECORDS: Final = 64
"""Control records after which an acceptance of a handover is too old: days in a quiet room."""
HOMES_PER_EPOCH: Final = 4
"""HOMEs of one member in one epoch: there, back, and once more, in a log that has an end."""
HUB_MOVES_PER_EPOCH: Final = 4
"""HUB_MOVEs in one epoch: each stays in the room's state, with its addresses."""
MOVES_TOLD: Final = 8
"""HUB_MOVEs of one room that are told at once: who is further behind reads them in the log."""
CAPS: Final = 8
"""Capabilities of one member: more than there are."""
SHORT_TEXT: Final = 128
"""Characters of a name of software or of a reason."""
URL_TEXT: Final = 512
"""Characters of a relay's address."""
DOMAIN_TEXT: Final = 253
"""Characters of a relay's name, a domain."""
RELAY_URLS: Final = 4
"""Addresses in one relay's descriptor."""
SUCCESSIONS: Final = 8
"""Keys of one relay after its first: a newcomer is shown the statements of all of them."""
SUCCESSION_BYTES: Final = 1 * KIB
"""A signed SUCCESSION: about 720 bytes, all of fixed size."""
EVIDENCE_RECORDS: Final = 8
"""Records in one piece of evidence: two contradict each other."""
VERSIONS: Final = 8
"""Protocol versions one HELLO may offer."""
PAGE_RECORDS: Final = 500
"""Records in one page of the control log."""
CHAIN_BYTES: Final = 64 * MIB
"""A control log that a client reads before it can verify it: a million messages in the largest
room make about 52 MiB, a year of renewed keys 7; more than this is a relay that means no room."""
CHAIN_OVERHEAD: Final = 128
"""Bytes that a record of a control log counts beside its own: what it takes in memory."""
CHAIN_RESERVE: Final = 4 * MIB
"""The end of a control log's space, for those who leave, are removed or take over: eighty evictions
from the largest room, thousands from a small one. A relay takes nothing else there."""
