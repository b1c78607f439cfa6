"""What one relay allows: the limits of protocol.md §3, as plain numbers."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, le

from ofcd.protocol import limits

__all__ = ["RelayPolicy"]


@frozen
class RelayPolicy:
    """The limits that the core enforces; names and defaults are those of the `[limits]` settings.

    Rates are token buckets. Sizes are bytes.
    """

    # sizes
    event_bytes: int = field(default=limits.EVENT_BYTES, validator=le(limits.EVENT_BYTES))
    control_bytes: int = field(default=limits.CONTROL_BYTES, validator=le(limits.CONTROL_BYTES))

    # rates
    requests_in_flight_per_link: int = 64
    """Only told to clients (Welcome); the shell enforces it."""
    requests_per_second_per_link: int = 100
    """All requests that have no rate of their own."""
    requests_burst_per_link: int = 1200
    """Must let a client attach to all its rooms and sync them at once."""
    events_per_second_per_member: int = 20
    events_burst_per_member: int = 60
    events_per_second_per_room: int = 100
    events_burst_per_room: int = 300
    control_per_minute_per_member: int = 30
    signals_per_second_per_member: int = 5
    signals_burst_per_member: int = 20
    signals_per_second_per_room: int = 25
    signals_burst_per_room: int = 100
    """Everybody may begin to type at once."""
    creations_per_minute_per_link: int = 10
    failed_lookups_per_minute_per_link: int = 60
    """Guesses at rooms and invites."""
    refusals_per_second_per_link: int = 50
    """Above it the link is read no faster: what is refused costs its sender time."""
    refusals_burst_per_link: int = 200
    """Must let a client be told that rooms are gone, or an outbox is stale, without a wait."""
    bad_signatures_per_minute: int = 20
    """Above it the link is closed."""
    tracked_keys: int = 100_000
    """Buckets of one kind that are remembered; the one unseen for longest goes first."""

    # rooms, members and invites
    rooms_per_relay: int = 10_000
    rooms_per_link: int = 500
    members_per_room: int = field(default=limits.ROOM_MEMBERS, validator=le(limits.ROOM_MEMBERS))
    open_invites_per_room: int = field(
        default=limits.OPEN_INVITES, validator=le(limits.OPEN_INVITES)
    )
    invite_days: int = 30
    join_tries_per_invite: int = field(default=limits.JOIN_TRIES, validator=le(limits.JOIN_TRIES))
    join_pending_days: int = 7
    joins_per_link: int = 16
    """Join requests of one link whose answers are pushed to it; the oldest goes first."""

    # history and attachments
    sync_page_events: int = field(default=limits.PAGE_RECORDS, validator=le(limits.PAGE_RECORDS))
    sync_page_bytes: int = field(default=limits.FRAME_BYTES, validator=le(limits.FRAME_BYTES))
    blob_bytes: int = 64 * limits.MIB
    blob_bytes_per_member: int = 1024 * limits.MIB
    uploads_per_room: int = 256
    """Attachments whose owner is remembered; the one unseen for longest goes first."""

    # federation
    federated: bool = False
    """Whether rooms of other relays may be reached through this one."""
    outbox_events_per_room: int = 5000
    outbox_bytes_per_room: int = 8 * limits.MIB
    """What waits for the hub of one room."""
    outbox_days: int = 7
    """After so many days it goes back to its sender."""

    # memory
    rooms_in_memory: int = 1000
    """Rooms kept although nobody is attached to them."""
    room_settle_ms: int = field(default=60_000, validator=ge(1))
    """A room decided on more recently than this stays in memory: its commit may be under way."""
    absent_rooms: int = 4096
    """Room ids remembered as not existing."""

    # who may found rooms
    may_create: bool = True
    create_token: str = field(default="", repr=False)
    """What `Create.token` must be; "" for no token."""

    hosts: bool = True
    """Whether this relay takes over rooms that were made at others (HUB_MOVE)."""

    name: str = ""
    """The relay's name; only told to clients (Welcome)."""
