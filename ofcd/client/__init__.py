"""The client core under `ofc`, bots and bridges: rooms, people and messages; keys stay inside.

    async with open_client(vault) as client:
        room = await client.join(link, name="Ana")
        await room.send("hello")
        async for event in room.events_since(room.cursor()):
            ...

`vault` keeps everything encrypted at rest; what is queued there is sent once, however often the
program or the network stops. `Room.events_since`, `Room.set_cursor` and `Room.queue` share one
transaction with the application's own records: each event has its effects exactly once.

Inside: `client`, `rooms`, `connection`, `streams`, `files` are the trio shell; all else is sans-IO.
`link` is one relay's machine, `room` one room's, made of `ledger` (intake), `folding` and `archive`
(history), `outbox` (of `queued`), `controls` (changes), `admitting` (with `holding` for joins that
the application decides, `inviting` for invites made once), `keydesk`, `duties`, `beats`,
`receipts`, `evidence`, `comparing`, `aliases` and `blobdrops`; `joins` is a join under way,
`arriving` what it brings, `moving` another relay to be at home at. All of them read and write one
vault transaction a turn (`turn`).
"""

from __future__ import annotations

from ofcd.client.client import Client, JoinInfo, RelayInfo, open_client
from ofcd.client.errors import (
    BadAttachment,
    BadInvite,
    ClientClosed,
    ClientError,
    ComparisonFailed,
    JoinFailed,
    KeyUnavailable,
    NoSuchRoom,
    NotAllowed,
    Offline,
    RelayRefused,
    RoomFrozen,
    TooSlow,
    VaultDamaged,
    VaultError,
    VaultExists,
    VaultLocked,
    VaultMissing,
    VaultUnwritable,
    WrongPassphrase,
)
from ofcd.client.events import (
    Alarm,
    AlarmKind,
    AliasChanged,
    AppEvent,
    CompareAsked,
    ComparisonEnded,
    FileInfo,
    HandedOver,
    HandoverOffered,
    HistoryGap,
    HomeChanged,
    InviteClosed,
    InviteOpened,
    JoinAsked,
    JoinStateChanged,
    KeyFound,
    KeyMissing,
    LinkState,
    LinkStateChanged,
    LiveEvent,
    LoggedEvent,
    MemberJoined,
    MemberLeft,
    MemberReached,
    Message,
    MessageAccepted,
    MessageEdited,
    MessageFailed,
    MessageHeld,
    MessageInvalid,
    MessageReacted,
    MessageReceived,
    MessageRedacted,
    MessageUnreadable,
    NameChanged,
    RoleChanged,
    RoomFounded,
    RoomRenamed,
    RoomStateChanged,
    RoomStatus,
    Rotated,
    SignalReceived,
    Via,
)
from ofcd.client.joins import JoinStage
from ofcd.client.model import Sent
from ofcd.client.outbox import Queued, Stage
from ofcd.client.rooms import Delivery, MemberInfo, Room, Sponsor
from ofcd.client.streams import EventStream
from ofcd.client.vault import Secret, Transaction, Vault
from ofcd.e2e import lite
from ofcd.e2e.bodies import (
    Content,
    Edit,
    FileRef,
    Profile,
    Reaction,
    Redaction,
    RoomInfo,
    Text,
    TextFormat,
)
from ofcd.e2e.invites import InviteCode, parse_link
from ofcd.e2e.names import display_name, visible_text
from ofcd.e2e.signals import SignalKind

__all__ = [
    "Alarm",
    "AlarmKind",
    "AliasChanged",
    "AppEvent",
    "BadAttachment",
    "BadInvite",
    "Client",
    "ClientClosed",
    "ClientError",
    "CompareAsked",
    "ComparisonEnded",
    "ComparisonFailed",
    "Content",
    "Delivery",
    "Edit",
    "EventStream",
    "FileInfo",
    "FileRef",
    "HandedOver",
    "HandoverOffered",
    "HistoryGap",
    "HomeChanged",
    "InviteClosed",
    "InviteCode",
    "InviteOpened",
    "JoinAsked",
    "JoinFailed",
    "JoinInfo",
    "JoinStage",
    "JoinStateChanged",
    "KeyFound",
    "KeyMissing",
    "KeyUnavailable",
    "LinkState",
    "LinkStateChanged",
    "LiveEvent",
    "LoggedEvent",
    "MemberInfo",
    "MemberJoined",
    "MemberLeft",
    "MemberReached",
    "Message",
    "MessageAccepted",
    "MessageEdited",
    "MessageFailed",
    "MessageHeld",
    "MessageInvalid",
    "MessageReacted",
    "MessageReceived",
    "MessageRedacted",
    "MessageUnreadable",
    "NameChanged",
    "NoSuchRoom",
    "NotAllowed",
    "Offline",
    "Profile",
    "Queued",
    "Reaction",
    "Redaction",
    "RelayInfo",
    "RelayRefused",
    "RoleChanged",
    "Room",
    "RoomFounded",
    "RoomFrozen",
    "RoomInfo",
    "RoomRenamed",
    "RoomStateChanged",
    "RoomStatus",
    "Rotated",
    "Secret",
    "Sent",
    "SignalKind",
    "SignalReceived",
    "Sponsor",
    "Stage",
    "Text",
    "TextFormat",
    "TooSlow",
    "Transaction",
    "Vault",
    "VaultDamaged",
    "VaultError",
    "VaultExists",
    "VaultLocked",
    "VaultMissing",
    "VaultUnwritable",
    "Via",
    "WrongPassphrase",
    "display_name",
    "lite",
    "open_client",
    "parse_link",
    "visible_text",
]
