"""What `ofc` says when a relay has another key."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from ofcd.client.events import RelayKeyChanged
from ofcd.ofc.records import event_record
from ofcd.ofc.sentences import sentence
from ofcd.protocol.ids import RelayId
from tests.federation.test_succession import replace
from tests.ofc.people import Street
from tests.ofc.test_records import WHO


async def test_who_talks_is_told_once_and_talks_on(
    street: Street, autojump_clock: MockClock
) -> None:
    """In words, while a command runs; the next command says nothing of it any more."""
    ana, bo = await street.pair()
    chat = street.start(bo, "tail", "Club", "--since", "0")
    await ana.ofc("send", "Club", "before")
    await chat.until_text("before")
    await replace(street.world)
    await chat.until_note("has replaced its key")
    await ana.ofc("send", "Club", "after")
    await chat.until_text("after")
    assert sum("key" in note for note in chat.notes) == 1
    again = await bo.ofc("read", "Club")
    assert not [note for note in again.notes if "key" in note]
    assert again.texts == ["before", "after"]


@pytest.mark.parametrize("disputed", [False, True])
def test_two_successors_are_an_alarm(disputed: bool) -> None:
    """In a transcript it stands out from a key that was replaced."""
    made = event_record(RelayKeyChanged(RelayId(bytes(32)), "its\nkey", disputed=disputed), WHO)
    assert made is not None
    assert sentence(made) == ("ALARM: its key" if disputed else "its key")
