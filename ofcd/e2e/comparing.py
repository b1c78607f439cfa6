"""Comparing a secret phrase with another member (protocol.md §2.5): Secure Comparator, four steps.

Two people who share a phrase learn whether they hold the same one, and so whether each has the
other's genuine keys: both sides' keys, the relay, the run and who began it go into what is
compared. Nobody else learns anything, and who does not know the phrase learns whether one guess
was right, once a run. (Themis binds a run to nothing but the secret.)

    initiator -- 1 --> responder -- 2 --> initiator -- 3 --> responder -- 4 --> initiator

The responder knows the result with step 3, the initiator with step 4. Sans-IO: steps come in and
go out as bodies of events, which their senders sign.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from ofcd.e2e.bodies import COMPARE_STEPS, Compare
from ofcd.e2e.errors import ComparisonBroken, PhraseTooShort
from ofcd.protocol.ids import Hash32, MemberId, RelayId, RoomId, Sid, tagged_hash
from ofcd.protocol.room import Member
from ofcd.themis import Comparator, ComparatorError

__all__ = [
    "PHRASE_CHARACTERS",
    "RUNS_A_DAY",
    "RUN_TIME",
    "Comparison",
    "compared_secret",
    "normal_phrase",
]

RUN_TIME: Final = 600_000
"""Milliseconds that a run may take, from its first step on: both people are there."""
RUNS_A_DAY: Final = 3
"""Runs with one member in 24 hours: each is a guess at the phrase for whoever is at that end."""
PHRASE_CHARACTERS: Final = 6
"""The shortest phrase taken. It is guessed online only, so it need not stand a search."""


def normal_phrase(phrase: str) -> str:
    """The phrase without what people type differently: case, white space, forms of a character.

    Raises `PhraseTooShort`.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", phrase).casefold())
    normal = " ".join(folded.split())
    if len(normal) < PHRASE_CHARACTERS:
        raise PhraseTooShort(PHRASE_CHARACTERS)
    return normal


def compared_secret(
    room: RoomId, relay_id: RelayId, run: Sid, initiator: Member, responder: Member, phrase: str
) -> Hash32:
    """What the two sides compare. Raises `PhraseTooShort`.

    The initiator stands first: so a member's own messages, reflected, never match. A mid is the
    hash of the signing key; the encryption keys they came with stand there too, and those that
    replaced these since are signed by what is compared (`trust`).
    """
    return tagged_hash(
        "cmp",
        room,
        initiator.mid,
        responder.mid,
        relay_id,
        run,
        initiator.first_enc_key,
        responder.first_enc_key,
        normal_phrase(phrase).encode("utf-8"),
    )


class Comparison:
    """One side of one run. Lives in memory alone: what Themis holds of it can not be stored."""

    def __init__(self, run: Sid, peer: MemberId, secret: Hash32, *, begins: bool) -> None:
        """`begins`: this side is the initiator; call `begin` next, else `take` step 1."""
        self.run = run
        self.peer = peer
        self.begins = begins
        self._core = Comparator(secret)
        self._expected = 2 if begins else 1

    @property
    def is_fresh(self) -> bool:
        """Nothing that depends on the phrase was sent yet, and no step of the peer was taken."""
        return self._expected == (2 if self.begins else 1)

    @property
    def result(self) -> bool | None:
        """Whether both phrases (and keys) are the same; None while the run is not over."""
        return self._core.result

    def begin(self) -> Compare:
        """The initiator's first step."""
        return Compare(self.run, self.peer, 1, self._core.begin())

    def take(self, step: Compare) -> Compare | None:
        """The answer to the peer's next step; None after the last one.

        Raises `ComparisonBroken` for a step out of turn, or one that Themis does not take: then
        this run is over.
        """
        expected, self._expected = self._expected, 0
        if step.step != expected:
            raise ComparisonBroken("a step of the comparison came out of turn")
        try:
            answer = self._core.proceed(step.data)
        except ComparatorError:
            raise ComparisonBroken("a step of the comparison was not well-formed") from None
        last = step.step == COMPARE_STEPS
        if (answer is None) is not last:
            raise ComparisonBroken("the comparison ended where it should not")
        self._expected = expected + 2
        return None if answer is None else Compare(self.run, self.peer, step.step + 1, answer)
