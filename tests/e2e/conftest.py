"""Worlds that many tests look at and none changes: made once."""

from __future__ import annotations

import pytest

from ofcd.protocol.records import Cap
from tests.e2e.world import Person, Relay, World, found_world


@pytest.fixture(scope="session")
def _three() -> World:
    made = found_world()
    made.join("Ana")
    made.join("Bo")
    return made


@pytest.fixture
def world(_three: World) -> World:
    """A room with its root, Ana and Bo, all caught up; each test has its own copy."""
    relay = Relay(_three.relay.room, [*_three.relay.entries])
    return World(relay, [Person(p.name, p.view) for p in _three.people])


@pytest.fixture(scope="session")
def quiet() -> World:
    """The same with a bridge and a message, shared: look at it, change nothing."""
    made = found_world()
    ana = made.join("Ana")
    made.join("Bo")
    made.join("Irc", caps=[Cap.BRIDGE])
    made.say(ana, "hello")
    return made
