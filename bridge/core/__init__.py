"""What every bridge shares: portals, journal, identities, formatting, loop guard, consent.

`network` is the contract that a network implements and what the core does for it, `model` what
crosses a bridge. Inside: `engine` runs it all; `reader` turns a room's events into entries of the
`journal` by `outbound`, `sender` says them by `handing`, `ledger` keeps what became of them and
`backlog` ends what waits for too long; `inbound` takes what networks bring; `guard`, `names`,
`consent`, `formatting` decide; `commands` is `!bridge`; `settings` is bridge.toml.
"""

from __future__ import annotations

from bridge.core.engine import Engine
from bridge.core.errors import BridgeError, NetworkError
from bridge.core.model import (
    Author,
    FileOut,
    Kind,
    LocalAuthor,
    Outgoing,
    Receipt,
    Remote,
    RemoteEdit,
    RemoteFile,
    RemoteMessage,
    RemoteNote,
    RemoteReaction,
    RemoteRedaction,
    RemoteTopic,
    ReplyTo,
    State,
    Verdict,
)
from bridge.core.network import Finding, Host, LocalMember, Network, PlaceInfo
from bridge.core.settings import Portal, Settings, load_settings

__all__ = [
    "Author",
    "BridgeError",
    "Engine",
    "FileOut",
    "Finding",
    "Host",
    "Kind",
    "LocalAuthor",
    "LocalMember",
    "Network",
    "NetworkError",
    "Outgoing",
    "PlaceInfo",
    "Portal",
    "Receipt",
    "Remote",
    "RemoteEdit",
    "RemoteFile",
    "RemoteMessage",
    "RemoteNote",
    "RemoteReaction",
    "RemoteRedaction",
    "RemoteTopic",
    "ReplyTo",
    "Settings",
    "State",
    "Verdict",
    "load_settings",
]
