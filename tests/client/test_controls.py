"""Changes to a room that are put off: whose wait is whose."""

from __future__ import annotations

import pytest

from ofcd.client.controls import Change, ControlDesk, Made
from ofcd.client.errors import ClientError
from ofcd.client.turn import Ticket, Turn
from ofcd.e2e.controls import make_leave
from ofcd.protocol.codes import Code
from ofcd.protocol.frames import ClientFrame, Control, Failure
from tests.client.liar import Bo


class Desk:
    """Bo's, whose relay refuses what it is asked."""

    def __init__(self, bo: Bo) -> None:
        self.bo = bo
        self.controls: ControlDesk = bo.room.controls

    def add(self, name: str, ticket: Ticket | None = None, *, gives_way: bool = False) -> list[int]:
        """Something to change; what is asked of the relay then."""
        core = self.bo.room.core

        def make(turn: Turn) -> Made:
            return Made(make_leave(core.state, core.mine, core.log.seen, turn.now))

        change = Change(name, make, ticket, gives_way=gives_way)
        return self.asked(self.bo.turn(lambda _: self.controls.add(change)))

    def refuse(self, rid: int, code: Code, retry_after: int | None = None) -> list[int]:
        return self.asked(self.bo.feed(Failure(rid, code.value, "", retry_after=retry_after)))

    def later(self, milliseconds: int) -> list[int]:
        self.bo.now += milliseconds
        return self.asked(self.bo.turn(lambda _: None))

    @staticmethod
    def asked(sent: list[ClientFrame]) -> list[int]:
        return [frame.rid for frame in sent if isinstance(frame, Control)]


@pytest.fixture
def desk(bo: Bo) -> Desk:
    return Desk(bo)


def test_what_is_withdrawn_ends_no_wait_of_another(desk: Desk) -> None:
    """A change is put off; a move that waits behind it is given up by who asked for it."""
    [rid] = desk.add("leave")
    assert desk.refuse(rid, Code.RATE_LIMITED) == []
    ticket = Ticket("move")
    assert desk.add("move", ticket, gives_way=True) == []
    before = desk.controls.deadline()
    error = ClientError("withdrawn")
    assert desk.asked(desk.bo.turn(lambda turn: desk.controls.withdraw(turn, ticket, error))) == []
    assert desk.controls.deadline() == before


@pytest.mark.parametrize("is_over", [True, False])
def test_what_the_relay_asks_for_holds_for_all(desk: Desk, is_over: bool) -> None:
    """It is asked too fast: not by the next change either, whatever becomes of the first one."""
    ticket = Ticket("move")
    [rid] = desk.add("move", ticket, gives_way=True)
    assert desk.refuse(rid, Code.RATE_LIMITED, 30_000) == []
    if is_over:
        error = ClientError("withdrawn")
        desk.bo.turn(lambda turn: desk.controls.withdraw(turn, ticket, error))
    assert desk.add("leave") == []
    assert desk.controls.deadline() == desk.bo.now + 30_000
    assert desk.later(29_000) == []
    assert len(desk.later(1_000)) == 1


def test_no_relay_puts_off_all_changes_for_ever(desk: Desk) -> None:
    """It may ask for ten minutes; but not with a refusal for good, nor of the next relay."""
    [rid] = desk.add("leave")
    assert desk.refuse(rid, Code.FORBIDDEN, 2**50) == []
    [rid] = desk.add("leave")
    assert desk.refuse(rid, Code.RATE_LIMITED, 2**50) == []
    [rid] = desk.later(600_000)
    ticket = Ticket("move")
    desk.refuse(rid, Code.FORBIDDEN)
    [rid] = desk.add("move", ticket, gives_way=True)
    assert desk.refuse(rid, Code.RATE_LIMITED, 2**50) == []
    error = ClientError("withdrawn")
    desk.bo.turn(lambda turn: desk.controls.withdraw(turn, ticket, error))
    desk.controls.link_lost()
    assert len(desk.add("leave")) == 1


def test_another_change_does_not_wait_for_a_move_that_comes_too_early(desk: Desk) -> None:
    """The room is kept for that move: what it is told to wait is its own."""
    [rid] = desk.add("move", Ticket("move"), gives_way=True)
    assert desk.refuse(rid, Code.TRY_AGAIN, 30_000) == []
    assert len(desk.add("leave")) == 1
