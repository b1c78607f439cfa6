"""Every `[limits]` setting reaches the layer that holds peers to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from ofcd.config import Access, Limits, Settings
from ofcd.config.fields import DOC, Doc
from ofcd.daemon.housekeeping import retention_of
from ofcd.daemon.limits import connection_limits, relay_limits, relay_policy, serve_limits
from ofcd.errors import ConfigError
from ofcd.relay import RelayPolicy
from ofcd.wire import ServeLimits

NAMES = [attribute.name for attribute in attrs.fields(Limits)]


def enforced(limits: Limits) -> tuple[object, ...]:
    """All that the layers below are told of the limits; Welcome, only told to clients, is not."""
    settings = Settings(limits=limits)
    return (
        connection_limits(settings),
        serve_limits(settings),
        relay_policy(settings),
        retention_of(settings),
    )


def lowered(name: str) -> Limits:
    """The limits with one at its lowest, and what must not be over that likewise."""
    doc: Doc = attrs.fields_dict(Limits)[name].metadata[DOC]
    values: dict[str, Any] = {name: doc.low or 0}
    follows = {
        "frame_bytes": ["sync_page_bytes"],
        "events_burst_per_member": ["events_per_second_per_member"],
        "connections": ["connections_per_ip"],
        "blob_bytes_per_member": ["blob_bytes"],
    }
    for other in follows.get(name, ()):
        values[other] = min(getattr(Limits(), other), values[name])
    return attrs.evolve(Limits(), **values)


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_changes_what_is_enforced(name: str) -> None:
    """A setting that nothing reads would be a promise that nobody keeps."""
    limits = lowered(name)
    others = attrs.evolve(limits, **{name: getattr(Limits(), name)})
    assert enforced(limits) != enforced(others)


def test_the_defaults_are_those_of_the_layers() -> None:
    """A relay without settings is the relay that the layers' own tests are about."""
    policy = relay_policy(Settings.default())
    assert policy == attrs.evolve(
        RelayPolicy(), name="localhost", sync_page_bytes=policy.sync_page_bytes
    )


def test_a_page_fits_into_a_frame() -> None:
    """With the record that takes it over its size, whatever is set."""
    for limits in (Limits(), lowered("frame_bytes")):
        settings = Settings(limits=limits)
        page = relay_policy(settings).sync_page_bytes
        assert page == connection_limits(settings).page_bytes
        assert page + limits.control_bytes <= limits.frame_bytes


def test_bursts_follow_the_rates() -> None:
    """A room takes one member's burst at least; a link may attach to all its rooms and sync."""
    settings = Settings(
        limits=Limits(
            events_burst_per_member=900, events_per_second_per_room=100, rooms_per_link=5_000
        )
    )
    policy = relay_policy(settings)
    assert policy.events_burst_per_room == 900
    assert policy.requests_burst_per_link > 10_000
    busy = Settings(limits=Limits(events_per_second_per_room=1_000))
    assert relay_policy(busy).events_burst_per_room == 3_000


def test_a_peer_that_has_proved_nothing_is_held_to_its_own_size() -> None:
    """preauth_bytes until the handshake is over."""
    settings = Settings(limits=Limits(preauth_bytes=lowered("preauth_bytes").preauth_bytes))
    limits: ServeLimits = serve_limits(settings)
    assert limits.link.opening_message_bytes == 512
    assert connection_limits(settings).message_bytes > 512


def test_clients_are_told_what_holds() -> None:
    """Welcome has the limits that a client can keep to by itself."""
    limits = Limits(members_per_room=7, requests_in_flight_per_link=3)
    told = relay_limits(Settings(limits=limits))
    assert (told.room_members, told.requests_in_flight) == (7, 3)
    assert told.event_bytes == limits.event_bytes


# -- who may make rooms ----------------------------------------------------------------------------


def with_token(path: Path) -> Settings:
    return Settings(access=Access(create="token", create_token_file=str(path)))


def test_the_token_is_the_first_line(tmp_path: Path) -> None:
    """Without the space around it; what comes after is the operator's own note."""
    path = tmp_path / "token"
    path.write_text("\n  hush-hush-hush-hush \nfor Ana\n")
    policy = relay_policy(with_token(path))
    assert policy.create_token == "hush-hush-hush-hush"
    assert policy.may_create
    assert "hush" not in repr(policy)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Else anyone, or nobody, could make rooms."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="create_token_file") as caught:
        relay_policy(with_token(path))
    assert str(path) in str(caught.value)


def test_nobody_and_anyone() -> None:
    """The other two choices."""
    assert not relay_policy(Settings(access=Access(create="nobody"))).may_create
    anyone = relay_policy(Settings.default())
    assert (anyone.may_create, anyone.create_token) == (True, "")
