"""The settings of `[limits]`, as the packages below `config` take them."""

from __future__ import annotations

from typing import Final

from attrs import fields, frozen

from ofcd.config import Limits, Settings
from ofcd.errors import ConfigError
from ofcd.protocol import limits as hard
from ofcd.protocol.frames import RelayLimits
from ofcd.relay import RelayPolicy
from ofcd.wire import LinkLimits, ServeLimits

__all__ = ["ConnectionLimits", "connection_limits", "relay_limits", "relay_policy", "serve_limits"]

_ROOM_BURST_SECONDS: Final = 3
_REQUESTS_BURST: Final = 200


@frozen
class ConnectionLimits:
    """What one link may cost the daemon."""

    handshake_seconds: float
    message_bytes: int
    outbox_bytes: int
    requests_in_flight: int
    bytes_per_second: int
    page_events: int
    page_bytes: int
    goodbye_seconds: float = 5.0


def connection_limits(settings: Settings) -> ConnectionLimits:
    """The daemon's own limits on a link."""
    limits = settings.limits
    return ConnectionLimits(
        handshake_seconds=limits.handshake_seconds,
        message_bytes=max(limits.frame_bytes * 2, hard.LINK_MESSAGE_BYTES),
        outbox_bytes=limits.outbox_bytes,
        requests_in_flight=limits.requests_in_flight_per_link,
        bytes_per_second=limits.bytes_per_second_per_link,
        page_events=limits.sync_page_events,
        page_bytes=_page_bytes(limits),
    )


def _page_bytes(limits: Limits) -> int:
    """A page goes over its size by at most one record, and has to fit into a frame even so."""
    return min(limits.sync_page_bytes, limits.frame_bytes * 3 // 4)


def serve_limits(settings: Settings) -> ServeLimits:
    """The limits of the listening port."""
    limits = settings.limits
    return ServeLimits(
        link=LinkLimits(
            message_bytes=max(limits.frame_bytes * 2, hard.LINK_MESSAGE_BYTES),
            opening_message_bytes=limits.preauth_bytes,
            idle_ping_seconds=limits.idle_ping_seconds,
            stall_seconds=limits.send_stall_seconds,
        ),
        handshake_seconds=limits.handshake_seconds,
        connections=limits.connections,
        connections_per_ip=limits.connections_per_ip,
        handshakes_per_minute=limits.handshakes_per_minute_per_ip,
    )


def relay_policy(settings: Settings) -> RelayPolicy:
    """What the core enforces: every limit the two name alike, and who may found rooms.

    Raises `ConfigError` if the token for founding rooms can not be read.
    """
    limits = settings.limits
    shared = {f.name for f in fields(RelayPolicy)} & {f.name for f in fields(type(limits))}
    given = {name: getattr(limits, name) for name in shared}
    given["sync_page_bytes"] = _page_bytes(limits)
    return RelayPolicy(
        **given,
        events_burst_per_room=max(
            limits.events_burst_per_member, _ROOM_BURST_SECONDS * limits.events_per_second_per_room
        ),
        # to attach to every room and sync it, at once, and something besides
        requests_burst_per_link=_REQUESTS_BURST + 2 * limits.rooms_per_link,
        may_create=settings.access.create != "nobody",
        create_token=_create_token(settings),
        hosts=settings.access.takes_rooms,
        name=settings.relay.name,
        federated=settings.federation.mode != "off",
        outbox_events_per_room=settings.federation.outbox_events_per_room,
        outbox_bytes_per_room=settings.federation.outbox_bytes_per_room,
        outbox_days=settings.federation.outbox_days,
    )


def _create_token(settings: Settings) -> str:
    path = settings.create_token_file
    if settings.access.create != "token" or path is None:
        return ""
    try:
        first, _, _ = path.read_text(encoding="utf-8").lstrip().partition("\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: access.create_token_file is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: the token of access.create_token_file can not be read ({error.strerror})"
        ) from None
    token = first.strip()
    if not token:
        raise ConfigError(f"{path}: access.create_token_file holds no token; write one into it")
    return token


def relay_limits(settings: Settings) -> RelayLimits:
    """What Welcome tells clients."""
    limits = settings.limits
    return RelayLimits(
        event_bytes=limits.event_bytes,
        blob_bytes=limits.blob_bytes,
        room_members=limits.members_per_room,
        events_per_second=limits.events_per_second_per_member,
        requests_in_flight=limits.requests_in_flight_per_link,
    )
