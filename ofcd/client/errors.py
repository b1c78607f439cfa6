"""What can go wrong in the client core, typed.

ClientError                the client core can not do what was asked
├── VaultError             the vault can not be used
│   ├── VaultLocked        another process has it open; names the process
│   ├── WrongPassphrase    the passphrase or key file is not this vault's
│   ├── VaultDamaged       a record was changed, swapped back or lost outside this program
│   ├── VaultMissing       there is no vault there, or the file is none
│   ├── VaultExists        there already is one
│   └── VaultUnwritable    the disk is full, read-only or broken; nothing was changed
├── RelayRefused           a relay refused a request; `code` is the relay's
├── Offline                no link to the relay within the time allowed; what is queued stays
├── NoSuchRoom             this vault has no such room
├── NotAllowed             your role, or the room's state, does not allow it; `code` says which
├── RoomFrozen             fork evidence: nothing is sent until a person has looked
├── KeyUnavailable         the room's current key is not here yet
├── BadInvite              the invite code is not one, or does not fit the room it names
├── JoinFailed             the join was refused for good
├── ComparisonFailed       a comparison of phrases ended without a result; `code` says how
├── BadAttachment          an attachment does not match what its message says
├── TooSlow                a reader of live events fell behind; read on with `events_since`
└── ClientClosed           the client is closed
"""

from __future__ import annotations

from ofcd.errors import OfcError

__all__ = [
    "BadAttachment",
    "BadInvite",
    "ClientClosed",
    "ClientError",
    "ComparisonFailed",
    "JoinFailed",
    "KeyUnavailable",
    "NoSuchRoom",
    "NotAllowed",
    "Offline",
    "RelayRefused",
    "RoomFrozen",
    "TooSlow",
    "VaultDamaged",
    "VaultError",
    "VaultExists",
    "VaultLocked",
    "VaultMissing",
    "VaultUnwritable",
    "WrongPassphrase",
]


class ClientError(OfcError):
    """The client core can not do what was asked."""

    code = "client"


class VaultError(ClientError):
    """The vault can not be used."""

    code = "vault"


class VaultLocked(VaultError):
    """Another process has the vault open; `pid` is its number where it is known."""

    code = "vault_locked"

    def __init__(self, path: str, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"the vault {path} is in use by {holder}: close it there first")
        self.pid = pid


class WrongPassphrase(VaultError):
    """The passphrase (or key file) does not open this vault."""

    code = "wrong_passphrase"


class VaultDamaged(VaultError):
    """Something outside this program changed the vault; restore it from a backup."""

    code = "vault_damaged"


class VaultMissing(VaultError):
    """There is no vault at this path, or what is there is none."""

    code = "vault_missing"


class VaultExists(VaultError):
    """There already is a file at this path."""

    code = "vault_exists"


class VaultUnwritable(VaultError):
    """The disk did not take it (full, read-only, broken); the vault is as it was before."""

    code = "vault_unwritable"


class _CodedError(ClientError):
    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = code

    @property
    def code(self) -> str:  # type: ignore[override]  # per instance: one class, many codes
        """The stable code of this error."""
        return self.kind


class RelayRefused(_CodedError):
    """A relay refused a request; `code` is the relay's, the sentence its own."""


class NotAllowed(_CodedError):
    """Your role or the room's state does not allow this; `code` says which (protocol/codes.py)."""


class JoinFailed(_CodedError):
    """The join ended without admission; `code` says why. The invite is spent or was not valid."""


class ComparisonFailed(_CodedError):
    """A comparison of phrases ended without a result: `code` is one of `comparing.Outcome`."""


class Offline(ClientError):
    """There was no link to the relay within the time allowed. What was queued is still queued."""

    code = "offline"


class NoSuchRoom(ClientError):
    """This vault has no such room."""

    code = "no_such_room"


class RoomFrozen(ClientError):
    """The relay's log contradicts itself or its word: see the room's evidence before going on."""

    code = "room_frozen"


class KeyUnavailable(ClientError):
    """The room's current key has not reached this client yet; it has been asked for."""

    code = "key_unavailable"


class BadInvite(ClientError):
    """The invite code is malformed, or what the relay shows does not fit it."""

    code = "bad_invite"


class BadAttachment(ClientError):
    """An attachment does not match its message's description; nothing of it was kept."""

    code = "bad_attachment"


class TooSlow(ClientError):
    """A reader of live events fell behind its bounded queue; read on with `events_since`."""

    code = "too_slow"


class ClientClosed(ClientError):
    """The client is closed."""

    code = "client_closed"
