"""What can go wrong in `ofc` itself, and which exit code says it.

OfcError
└── CommandError          the command can not do what was asked
    ├── UsageError        the command line makes no sense
    ├── NotKnown          no room, member or message answers to that name
    ├── Ambiguous         several do
    ├── NotConfirmed      what can not be taken back needs --yes
    ├── OutputLost        what it says can not be written where it is to go
    ├── FileMissing       there is no such file to send
    ├── NoPassphrase      there is none, and nobody to ask
    ├── TimedOut          `--timeout` is over
    ├── PhraseDiffers     the other side has another phrase, or other keys
    ├── AgentGone         the process that has the vault open went away
    ├── AgentBusy         it does too much already
    └── Told              an error that the agent reported
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ofcd.client.errors import (
    BadInvite,
    JoinFailed,
    NoSuchRoom,
    NotAllowed,
    Offline,
    RelayRefused,
    RoomFrozen,
    VaultError,
)
from ofcd.errors import ConfigError, OfcError
from ofcd.protocol.codes import Code, ProtocolError

__all__ = [
    "EXITS",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "AgentBusy",
    "AgentGone",
    "Ambiguous",
    "CommandError",
    "FileMissing",
    "NoPassphrase",
    "NotConfirmed",
    "NotKnown",
    "OutputLost",
    "PhraseDiffers",
    "Report",
    "TimedOut",
    "Told",
    "UsageError",
    "report_of",
]

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_VAULT: Final = 3
EXIT_OFFLINE: Final = 4
EXIT_REFUSED: Final = 5
EXIT_UNKNOWN: Final = 6
EXIT_ALARM: Final = 7
EXIT_INTERRUPTED: Final = 130

EXITS: Final = {
    EXIT_OK: "done",
    EXIT_FAILED: "failed, for a reason without a code of its own",
    EXIT_USAGE: "wrong usage",
    EXIT_VAULT: "the vault, its passphrase or a file is missing, wrong or in use",
    EXIT_OFFLINE: "the relay can not be reached, or not in time",
    EXIT_REFUSED: "refused: by the relay, or because your role does not allow it",
    EXIT_UNKNOWN: "no such room, member or message, or more than one",
    EXIT_ALARM: "an alarm: the relay or a member did what can not be right",
    EXIT_INTERRUPTED: "interrupted (Ctrl-C)",
}
"""Every exit code and what it says; `ofc --help` prints them."""


class CommandError(OfcError):
    """The command can not do what was asked."""

    code = "failed"


class UsageError(CommandError):
    """The command line makes no sense; the sentence says what would."""

    code = "usage"


class NotKnown(CommandError):
    """Nothing answers to that name or id."""

    code = "unknown"


class Ambiguous(CommandError):
    """Several things answer to that name or id; the sentence lists them."""

    code = "ambiguous"


class NotConfirmed(CommandError):
    """What can not be taken back was not confirmed: nothing was done."""

    code = "not_confirmed"


class OutputLost(CommandError):
    """Standard output, or the file named for it, takes no more: a full disk."""

    code = "output_lost"


class FileMissing(CommandError):
    """The file to send is not there, or is none."""

    code = "no_file"


class NoPassphrase(CommandError):
    """The vault's passphrase was not given, and there is no terminal to ask on."""

    code = "no_passphrase"


class TimedOut(CommandError):
    """`--timeout` is over; what was queued stays queued."""

    code = "timeout"


class PhraseDiffers(CommandError):
    """The phrases compared are not the same: a slip of the hand, or somebody in between."""

    code = "phrase_differs"


class AgentGone(CommandError):
    """The process that has the vault open ended before the command did."""

    code = "agent_gone"


class AgentBusy(CommandError):
    """The process that has the vault open runs as many commands as it takes."""

    code = "agent_busy"


@frozen
class Report:
    """An error as it is told: over the agent's socket, to a script, to a person."""

    code: str
    message: str
    exit: int = EXIT_FAILED


class Told(CommandError):
    """An error that happened in the process that has the vault open."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.message)
        self.report = report


_EXIT_OF: Final[tuple[tuple[type[OfcError], int], ...]] = (
    (UsageError, EXIT_USAGE),
    (NotKnown, EXIT_UNKNOWN),
    (Ambiguous, EXIT_UNKNOWN),
    (NoSuchRoom, EXIT_UNKNOWN),
    (FileMissing, EXIT_VAULT),
    (OutputLost, EXIT_VAULT),
    (NoPassphrase, EXIT_VAULT),
    (ConfigError, EXIT_VAULT),
    (VaultError, EXIT_VAULT),
    (TimedOut, EXIT_OFFLINE),
    (Offline, EXIT_OFFLINE),
    (RoomFrozen, EXIT_ALARM),
    (PhraseDiffers, EXIT_ALARM),
    (RelayRefused, EXIT_REFUSED),
    (NotAllowed, EXIT_REFUSED),
    (JoinFailed, EXIT_REFUSED),
    (BadInvite, EXIT_REFUSED),
    (ProtocolError, EXIT_REFUSED),
)
_ALARMS: Final = frozenset({Code.FORK.value, Code.HUB_BEHIND.value})


def report_of(error: OfcError) -> Report:
    """The error's code and sentence, and the exit code for its kind."""
    if isinstance(error, Told):
        return error.report
    exit_code = next((code for cls, code in _EXIT_OF if isinstance(error, cls)), EXIT_FAILED)
    if error.code in _ALARMS:
        exit_code = EXIT_ALARM
    return Report(error.code, str(error), exit_code)
