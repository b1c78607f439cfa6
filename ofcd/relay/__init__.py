"""The core: what clients ask, and what the relay decides.

Law: sans-IO and pure of clock, randomness and sockets. A request, the time and the ids it needs go
in; facts to commit and frames to send come out. Store before fan-out, always: nothing here is
promised to anyone until the facts are committed. Never reaches `e2e` or `client`.
"""

from __future__ import annotations

from ofcd.relay.copying import copy_floor, found_copy
from ofcd.relay.effects import (
    Appended,
    Arrive,
    Backlog,
    Close,
    Decision,
    Effect,
    FindEvent,
    FindSid,
    FindUpload,
    Forward,
    HubMoved,
    LinkId,
    Push,
    ReadBlob,
    ReadChain,
    Redacted,
    Reply,
    Rewound,
    Stir,
    Subscribe,
    Unsubscribe,
)
from ofcd.relay.forcing import Retreat, begin_anew, prepare
from ofcd.relay.policy import RelayPolicy
from ofcd.relay.refusal import Refusal
from ofcd.relay.relay import Relay
from ofcd.relay.request import Asked, Examined
from ofcd.relay.room_log import BadSnapshot, RoomLog
from ofcd.relay.skipping import Skip, signed_skip, verify_skip
from ofcd.relay.verifying import Entry, HubLied, Verified, verify_entries

__all__ = [
    "Appended",
    "Arrive",
    "Asked",
    "Backlog",
    "BadSnapshot",
    "Close",
    "Decision",
    "Effect",
    "Entry",
    "Examined",
    "FindEvent",
    "FindSid",
    "FindUpload",
    "Forward",
    "HubLied",
    "HubMoved",
    "LinkId",
    "Push",
    "ReadBlob",
    "ReadChain",
    "Redacted",
    "Refusal",
    "Relay",
    "RelayPolicy",
    "Reply",
    "Retreat",
    "Rewound",
    "RoomLog",
    "Skip",
    "Stir",
    "Subscribe",
    "Unsubscribe",
    "Verified",
    "begin_anew",
    "copy_floor",
    "found_copy",
    "prepare",
    "signed_skip",
    "verify_entries",
    "verify_skip",
]
