"""The sections of a relay's settings: every key, what it means, its bounds and its default."""

import json
import re
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from attrs import frozen

from ofcd.config.fields import Networks, Size, Words, networks, setting, size, words
from ofcd.protocol import limits as hard

DEFAULT_URL: Final = "sqlite:///{data_dir}/ofcd.db"


# ---------------------------------------------------------------- checks of single values


def _check_name(value: str) -> None:
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f/!#]{1,253}", value):
        raise ValueError('is not a name: a domain or a short label without spaces, "/", "!", "#"')


def _check_host(value: str) -> None:
    if not re.fullmatch(r"[0-9A-Za-z.:_-]+", value):
        raise ValueError('is not an address to listen on: "127.0.0.1", or "0.0.0.0" for all')


def _check_public_url(value: str) -> None:
    if value and not _is_websocket_url(value):
        raise ValueError('is not an address for clients: "wss://chat.example.org", or "" to derive')


def _is_websocket_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:  # brackets without an address, or a port that is none
        return False
    plain = not (parts.query or parts.fragment or parts.username or "#" in value)
    return parts.scheme in ("ws", "wss") and bool(parts.hostname) and port != 0 and plain


def _check_proxies(value: Networks) -> None:
    if any(network.prefixlen == 0 for network in value):
        raise ValueError("would believe everybody: name the addresses of your proxies only")


def _check_path(value: str) -> None:
    if not value or "\x00" in value:
        raise ValueError('is not a path: a directory such as "var"')


def _check_storage_url(value: str) -> None:
    if not value.startswith("sqlite:///") or value == "sqlite:///":
        raise ValueError(f"is not supported: use {json.dumps(DEFAULT_URL)}")
    if ":memory:" in value or "?" in value:
        raise ValueError("has to be a plain file: what is acknowledged must outlive the process")


def _check_metrics_path(value: str) -> None:
    if not re.fullmatch(r"/[A-Za-z0-9._/-]+", value) or value == "/healthz":
        raise ValueError('is not a free path: use "/metrics"')


_PEER: Final = re.compile(r"([^\s!/#]{1,253})(?:!([0-9a-f]{64}))?(?: (wss?://[^\s#]{1,500}))?")


def parse_peer(text: str) -> tuple[str, str, str] | None:
    """Name, relay id in hex and address of a peer in the settings; "" for what is left out."""
    found = _PEER.fullmatch(text)
    if found is None or (found[3] and not _is_websocket_url(found[3])):
        return None
    return found[1], found[2] or "", found[3] or ""


def _check_peers(value: Words) -> None:
    if not all(parse_peer(one) for one in value):
        raise ValueError(
            'holds what is no peer: write its name, "!" and its fingerprint without spaces, and '
            'where it is reached, as "b.example!0123…cdef wss://b.example"'
        )


def _check_deny(value: Words) -> None:
    if not all(re.fullmatch(r"[0-9a-f]{64}|[^\s!/#]{1,253}", one) for one in value):
        raise ValueError("holds what is neither a relay's name nor its fingerprint without spaces")


# ---------------------------------------------------------------- sections


@frozen
class Relay:
    """Who this relay is and where it listens. One port serves WebSocket and the HTTP pages."""

    name: str = setting(
        "localhost", "Shown to people: the relay's domain, or a label.", check=_check_name
    )
    host: str = setting(
        "127.0.0.1",
        "Address to listen on.",
        safe='"127.0.0.1" lets in this machine only, as is right behind a TLS proxy; '
        '"0.0.0.0" lets in everybody, in plain ws: content stays sealed, but who talks when '
        "is open to the network in between.",
        check=_check_host,
    )
    port: int = setting(5103, "TCP port; 0 takes any free one.", low=0, high=65_535)
    public_url: str = setting(
        "",
        'What invites name: where clients reach this relay. "" means ws://host:port.',
        safe="Set it to wss://your.domain when a TLS proxy stands in front. Invites already "
        "given keep the old address.",
        check=_check_public_url,
    )
    trusted_proxies: Networks = networks(
        "Addresses or networks of proxies in front of this relay. A connection from one of them "
        "counts, in the limits by address, as the client that its X-Forwarded-For or Forwarded "
        "header names; a header from anywhere else is not read.",
        safe='["127.0.0.1", "::1"] for a proxy on this machine that sets the header itself. '
        "[] believes nobody, as is right without such a proxy: whoever may write the header "
        "chooses the address that limits count. So it is right, too, behind what only passes "
        "bytes on (a tunnel, an onion service).",
        check=_check_proxies,
    )
    data_dir: str = setting(
        "var",
        "Directory of the database, attachments and the relay's identity key.",
        safe="On a local disk, not a network share; readable by the relay's user alone. "
        "Who loses the identity key loses the relay's name with every client: back it up. "
        "ofcd rotate-key replaces it.",
        check=_check_path,
    )


@frozen
class Storage:
    """What is kept, and how surely.

    Back up with `ofcd backup FILE` while the relay runs; a copy of the database file alone,
    taken by hand from a running relay, lacks what still stands in its WAL. Retention removes
    the sealed messages of a room, never the records that members need to follow its keys.
    """

    url: str = setting(
        DEFAULT_URL, "The database; {data_dir} is the setting above.", check=_check_storage_url
    )
    durability: Literal["full", "normal"] = setting(
        "full",
        "How surely an acknowledged message is on disk.",
        safe='"full" survives kill -9 and a power cut. "normal" is faster and survives kill -9, '
        "but a power cut or a crash of the system may take the last moments with it, although "
        "they were acknowledged.",
    )
    max_age_days: int = setting(
        0, "Remove messages older than this; 0 keeps them.", unit="days", low=0, high=36_500
    )
    max_events_per_room: int = setting(
        0, "Keep only this many of the latest messages of a room; 0 keeps all.", low=0
    )
    max_bytes_per_room: Size = size(
        0, "Keep only this much of the latest messages of a room; 0 keeps all."
    )


@frozen
class Limits:
    """What one peer may cost the relay. The defaults are those of OFC/1 (docs: protocol).

    Lower them on a small machine. The sizes can not go over what OFC/1 itself allows. In the
    worst case memory is connections x (outbox_bytes + frame_bytes): lower these two first.
    """

    # what one message may weigh
    frame_bytes: Size = size(
        hard.FRAME_BYTES,
        "The largest frame on a link.",
        low=512 * hard.KIB,
        high=hard.FRAME_BYTES,
        safe="It has to hold one attachment chunk (257 KiB).",
    )
    event_bytes: Size = size(
        hard.EVENT_BYTES,
        "The largest message: its signed header and its sealed text.",
        low=4 * hard.KIB,
        high=hard.EVENT_BYTES,
    )
    control_bytes: Size = size(
        hard.CONTROL_BYTES,
        "The largest record of a room's control log.",
        low=16 * hard.KIB,
        high=hard.CONTROL_BYTES,
        safe="A rotation lists every member: 500 members need about 48 KiB.",
    )
    preauth_bytes: Size = size(
        hard.PREAUTH_BYTES,
        "The largest message of a peer that has not proved a key yet.",
        low=512,
        high=hard.PREAUTH_BYTES,
    )

    # connections
    connections: int = setting(
        10_000,
        "Connections at once.",
        low=1,
        high=1_000_000,
        safe="Each takes a file descriptor: raise `ulimit -n` above it.",
    )
    connections_per_ip: int = setting(
        100,
        "Connections at once from one address.",
        low=1,
        high=1_000_000,
        safe="An IPv6 /64 is one address. Behind a proxy all connections come from its address: "
        "name it in relay.trusted_proxies.",
    )
    handshakes_per_minute_per_ip: int = setting(
        60,
        "New connections a minute from one address.",
        low=1,
        high=1_000_000,
        safe="Each costs about 3 ms. A script of `ofc` commands and a household that comes back "
        "together need some at once. Behind a proxy, as above.",
    )
    handshake_seconds: float = setting(
        10.0, "Time a new connection has to prove its key.", unit="seconds", low=1, high=120
    )
    requests_in_flight_per_link: int = setting(
        64, "Requests of one connection that wait for their answer.", low=1, high=4096
    )
    outbox_bytes: Size = size(
        2 * hard.MIB,
        "What may wait for a slow reader before it is dropped; it resumes and loses nothing.",
        low=hard.FRAME_BYTES,
        high=256 * hard.MIB,
    )
    send_stall_seconds: float = setting(
        30.0, "A peer that takes no byte for this long is dropped.", unit="seconds", low=1, high=600
    )
    idle_ping_seconds: float = setting(
        30.0,
        "Silence after which a peer is asked whether it is there.",
        unit="seconds",
        low=1,
        high=3600,
        safe="Many home routers forget a silent connection after 60 seconds.",
    )
    bad_signatures_per_minute: int = setting(
        20, "False signatures a minute before a connection is closed.", low=1, high=10_000
    )

    # rates
    bytes_per_second_per_link: Size = size(
        4 * hard.MIB,
        "What one connection may send, over time; four seconds' worth at once. More is read later.",
        low=hard.LINK_MESSAGE_BYTES // 4,
        high=1024 * hard.MIB,
        safe="Unsealing 1 MiB takes the relay about 40 ms, in which nobody else is served.",
    )
    events_per_second_per_member: int = setting(
        20, "Messages a second of one member, over time.", low=1, high=10_000
    )
    events_burst_per_member: int = setting(
        60, "Messages of one member at once.", low=1, high=100_000
    )
    events_per_second_per_room: int = setting(
        100, "Messages a second of one room, over time.", low=1, high=100_000
    )
    control_per_minute_per_member: int = setting(
        30, "Control records (invites, admissions, rotations) a minute.", low=1, high=10_000
    )

    # rooms, members and invites
    rooms_per_relay: int = setting(10_000, "Rooms on this relay.", low=1, high=10_000_000)
    rooms_per_link: int = setting(500, "Rooms that one connection attaches to.", low=1, high=10_000)
    members_per_room: int = setting(
        hard.ROOM_MEMBERS, "Members of a room.", low=2, high=hard.ROOM_MEMBERS
    )
    member_idle_days: int = setting(
        90,
        "A member that did not come by for this long no longer holds up the removal of old keys; "
        "0 waits for ever.",
        unit="days",
        low=0,
        high=36_500,
    )
    open_invites_per_room: int = setting(
        hard.OPEN_INVITES, "Invites of a room open at once.", low=1, high=hard.OPEN_INVITES
    )
    invite_days: int = setting(30, "The longest life of an invite.", unit="days", low=1, high=30)
    join_tries_per_invite: int = setting(
        hard.JOIN_TRIES, "Join requests that one invite may see.", low=1, high=hard.JOIN_TRIES
    )
    join_pending_days: int = setting(
        7, "How long a join request waits for an owner.", unit="days", low=1, high=30
    )

    # history and attachments
    sync_page_events: int = setting(
        hard.PAGE_RECORDS, "Messages in one page of history.", low=1, high=hard.PAGE_RECORDS
    )
    sync_page_bytes: Size = size(
        hard.FRAME_BYTES,
        "The largest page of history.",
        low=256 * hard.KIB,
        high=hard.FRAME_BYTES,
    )
    blob_bytes: Size = size(
        64 * hard.MIB,
        "The largest attachment; 0 takes none.",
        high=hard.BLOB_CHUNKS * hard.CHUNK_BYTES,
    )
    blob_bytes_per_member: Size = size(2**30, "All attachments that one member keeps here.")

    def __attrs_post_init__(self) -> None:
        """Refuse limits that contradict each other: ValueError names both."""
        for smaller, larger in _NOT_OVER:
            if getattr(self, smaller) > getattr(self, larger):
                raise ValueError(f"{smaller} is larger than {larger}: lower the one or raise it")


_NOT_OVER: Final = (
    ("control_bytes", "frame_bytes"),
    ("sync_page_bytes", "frame_bytes"),
    ("events_per_second_per_member", "events_burst_per_member"),
    ("connections_per_ip", "connections"),
    ("blob_bytes", "blob_bytes_per_member"),
)


@frozen
class Access:
    """Who may make rooms here. Joining one always takes an invite of that room."""

    create: Literal["anyone", "token", "nobody"] = setting(
        "anyone",
        "Who may make a room.",
        safe='"anyone" fits a relay that only friends can reach. "token" asks for the text in '
        'create_token_file. "nobody" keeps the rooms there are.',
    )
    create_token_file: str = setting(
        "",
        'File whose first line is the token, for create = "token".',
        safe="Readable by the relay's user alone; at least 16 random characters.",
    )
    move_here: Literal["anyone", "nobody", "as_create"] = setting(
        "as_create",
        "Whose rooms, made at other relays, may be moved here by their owners (HUB_MOVE).",
        safe='"as_create" is "anyone" where everybody may make a room, and else "nobody". "nobody" '
        "takes no more, and keeps those there are.",
    )

    @property
    def takes_rooms(self) -> bool:
        """Whether rooms of other relays may be moved here."""
        as_create = self.move_here == "as_create" and self.create == "anyone"
        return as_create or self.move_here == "anyone"

    def __attrs_post_init__(self) -> None:
        """Refuse "token" without a file: nobody could make a room."""
        if self.create == "token" and not self.create_token_file:
            raise ValueError('create = "token" needs create_token_file: name the file with it')


@frozen
class Log:
    """What the relay writes to standard error. Never a key, a token or a message."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "The least weighty line that is written."
    )
    format: Literal["text", "json"] = setting(
        "text", '"text" for people, "json" for machines: one object a line.'
    )


@frozen
class Metrics:
    """Counts for Prometheus, on the relay's own port. They name no member, room or address."""

    enabled: bool = setting(
        True,
        "Whether they are served.",
        safe="They tell how busy the relay is: let the proxy keep the path from the public.",
    )
    path: str = setting("/metrics", "Where they are served.", check=_check_metrics_path)


@frozen
class Federation:
    """Talking to other relays, so that people of several relays share rooms.

    A room stays with the relay that it was made at. Others keep a sealed copy for their members.
    """

    mode: Literal["off", "allowlist", "open"] = setting(
        "off",
        "Which relays this one talks to.",
        safe='"off" talks to none, and no room leaves. "allowlist" talks to `peers` only. "open" '
        "talks to all but `deny`: who holds an invite may join through any relay. A room made "
        "with --local-only never leaves, whatever stands here.",
    )
    peers: Words = words(
        'Relays by name, fingerprint and address: "b.example!FINGERPRINT wss://b.example". Without '
        "an address, https://NAME/.well-known/ofc/relay.json tells it; without a fingerprint too, "
        "that page is believed the first time.",
        safe="What stands here is believed before anything an invite or a page says.",
        check=_check_peers,
    )
    deny: Words = words(
        "Relays that are never talked to, by name or fingerprint. A name holds for addresses "
        "there, and, where mode is open, for every relay whose page is found there: each day anew.",
        check=_check_deny,
    )
    allow_private: Networks = networks(
        "Networks that may be dialled although they are private, or this machine itself.",
        safe="[] keeps invites from making this relay knock at doors of your own network. "
        '["127.0.0.0/8"] for two relays on one machine.',
        check=_check_proxies,
    )
    rooms_per_peer: int = setting(
        500, "Rooms of this relay that one other relay follows.", low=1, high=100_000
    )
    copies_per_peer: int = setting(
        500, "Rooms of one other relay that this one keeps copies of.", low=1, high=100_000
    )
    events_per_second_per_copy: int = setting(
        1000,
        "What is taken of one other relay's room a second, over time; four times that at once. "
        "That relay is read no faster.",
        low=1,
        high=100_000,
    )
    frames_per_second_per_peer: int = setting(
        200,
        "What one other relay may ask a second, over time; twice that at once. It is read no "
        "faster.",
        low=1,
        high=100_000,
    )
    outbox_events_per_room: int = setting(
        5000,
        "Messages that wait here for one room's own relay. One member may have as many as it "
        "leaves free for others.",
        low=1,
        high=1_000_000,
    )
    outbox_bytes_per_room: Size = size(
        8 * hard.MIB, "And at most this much of them.", low=hard.EVENT_BYTES
    )
    outbox_days: int = setting(
        7,
        "After so long a message that could not be handed over goes back to its sender.",
        unit="days",
        low=1,
        high=30,
    )
    blob_cache_bytes: Size = size(
        256 * hard.MIB,
        "Attachments that were had from other relays and are kept here, by room; 0 keeps none.",
    )
    blob_cache_bytes_in_all: Size = size(
        4 * 1024 * hard.MIB,
        "And at most this much of them in all rooms together; what was not read for the longest "
        "time goes first.",
    )
    quarantine_minutes: int = setting(
        10,
        "How long nothing is taken from a relay that was caught forging, or sending bytes "
        "that are no frames.",
        unit="minutes",
        low=1,
        high=10_080,
    )


SECTIONS: Final[dict[str, type[Any]]] = {
    "relay": Relay,
    "storage": Storage,
    "limits": Limits,
    "access": Access,
    "log": Log,
    "metrics": Metrics,
    "federation": Federation,
}
