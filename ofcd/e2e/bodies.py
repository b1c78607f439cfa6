"""What a message says: the plaintext inside an event's cell (protocol.md §2.3, §2.5).

A body is strict JSON: the fields its signed header also carries (`room`, `mid`, `counter`, `sid`:
a cell moved under another header is found out), who speaks (`name`, `via`, `hops`), a `type` and
its `content`. White space behind it pads the plaintext to one of a few sizes, so that the cell's
length says little. A type from the future becomes `Unknown`: shown as such, never dropped.
"""

from __future__ import annotations

from collections.abc import Sized
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import ge, le, max_len, min_len

from ofcd.e2e.errors import BodyInvalid, BodyTooLong
from ofcd.protocol import limits
from ofcd.protocol.codec import build, dump_json, parse_json, unbuild
from ofcd.protocol.codes import Code, Malformed
from ofcd.protocol.ids import BlobId, EventId, Hash32, MemberId, RoomId, Sid
from ofcd.protocol.records import EventKind
from ofcd.themis import KEY_BYTES

__all__ = [
    "BODY_TYPES",
    "BUCKETS",
    "COMPARE_STEPS",
    "FILE_CHUNKS",
    "THUMB_BYTES",
    "Alias",
    "Beat",
    "Body",
    "Compare",
    "CompareEnd",
    "Content",
    "Edit",
    "FileRef",
    "HandoverAccepted",
    "HandoverOffer",
    "Profile",
    "Reaction",
    "Redaction",
    "RoomInfo",
    "Text",
    "TextFormat",
    "Unknown",
    "Via",
    "decode_body",
    "encode_body",
    "kind_of",
]

BUCKETS: Final = (256, 1 * limits.KIB, 4 * limits.KIB, 16 * limits.KIB, 48 * limits.KIB)
"""Sizes of plaintext, in bytes; the last leaves room for header and seal in EVENT_BYTES."""
FILE_CHUNKS: Final = 960
"""Chunks whose hashes fit one body beside a name and a caption: files up to 240 MiB."""
THUMB_BYTES: Final = 10 * limits.KIB
"""Of a picture made small: with it, most messages that name one fill the bucket of 16 KiB."""
COMPARE_STEPS: Final = 4
"""Messages of one Secure Comparator run, two from each side."""
_NAME: Final = 256
_TOPIC: Final = 1024
_CAPTION: Final = 1024
_EMOJI: Final = 64
_MENTIONS: Final = 64
_VOIDS: Final = 16
_HOPS: Final = 255
_STEP_BYTES: Final = 1024
"""The longest message of Secure Comparator has 352 bytes."""
_NO_MIME: Final = "application/octet-stream"


def _at_most(limit: int, what: str) -> Any:
    def check(_: object, __: object, value: Sized) -> None:
        if len(value) > limit:
            raise BodyInvalid(f"the {what} is {len(value)} long, and {limit} are allowed")

    return check


def _size(value: str) -> str:
    """What people wrote does not show in a repr, and so in no log."""
    return f"<{len(value)}>"


def _not_empty(_: object, attribute: Any, value: Sized) -> None:
    if not value:
        raise BodyInvalid(f"the {attribute.name} can not be empty")


class TextFormat(StrEnum):
    """How a text is to be shown; a format from the future is read as plain."""

    PLAIN = "plain"
    LITE = "markdown-lite"

    @classmethod
    def _missing_(cls, value: object) -> TextFormat | None:
        return cls.PLAIN if isinstance(value, str) else None


@frozen
class Text:
    """Words."""

    text: str = field(repr=_size)
    format: TextFormat = TextFormat.PLAIN
    reply_to: EventId | None = None
    thread: EventId | None = None
    """The first event of the thread this belongs to."""
    mentions: tuple[MemberId, ...] = field(
        default=(), validator=_at_most(_MENTIONS, "list of mentions")
    )


@frozen
class Edit:
    """New words for an earlier text; valid only from the sender of `target`."""

    target: EventId
    text: str = field(repr=_size)
    format: TextFormat = TextFormat.PLAIN
    mentions: tuple[MemberId, ...] = field(
        default=(), validator=_at_most(_MENTIONS, "list of mentions")
    )


@frozen
class Reaction:
    """An emoji put on, or taken off, an event."""

    target: EventId
    emoji: str = field(validator=[_not_empty, _at_most(_EMOJI, "emoji")])
    removed: bool = False


@frozen
class FileRef:
    """A file whose sealed chunks the relay keeps as blob `blob_id` (attachments.py)."""

    blob_id: BlobId
    key: bytes = field(repr=False, validator=[min_len(KEY_BYTES), max_len(KEY_BYTES)])
    size: int
    """Bytes of plaintext."""
    sha256: Hash32
    """Of the whole plaintext."""
    chunks: tuple[Hash32, ...] = field(validator=_at_most(FILE_CHUNKS, "list of chunks"))
    """SHA-256 of each sealed chunk, in order."""
    name: str = field(default="", validator=_at_most(_NAME, "name"))
    """As its sender named it: untrusted, use `attachments.safe_file_name`."""
    mime: str = field(default=_NO_MIME, validator=_at_most(limits.SHORT_TEXT, "media type"))
    caption: str = field(default="", repr=_size, validator=_at_most(_CAPTION, "caption"))
    thumb: bytes = field(default=b"", repr=False, validator=_at_most(THUMB_BYTES, "thumbnail"))
    """What it looks like, as a small JPEG, PNG or WebP: untrusted, and not proven to be of it."""


@frozen
class Profile:
    """What the sender wants to be called from now on."""

    name: str = field(validator=_at_most(_NAME, "name"))


@frozen
class RoomInfo:
    """The room's name and topic; valid only from an owner."""

    name: str = field(validator=_at_most(_NAME, "name"))
    topic: str = field(default="", validator=_at_most(_TOPIC, "topic"))


@frozen
class Beat:
    """Nothing to say but `seen`, in the header: makes a cut-off log show (protocol.md §2.2)."""


@frozen
class Redaction:
    """Why the header's `target` was redacted."""

    target: EventId
    reason: str = field(default="", validator=_at_most(limits.SHORT_TEXT, "reason"))


@frozen
class HandoverOffer:
    """Root asks `to` to become root."""

    to: MemberId


@frozen
class HandoverAccepted:
    """The heir's signed HANDOVER_ACCEPT, for root to nest in HANDOVER."""

    accept: bytes = field(validator=_at_most(2048, "acceptance"), repr=False)


@frozen
class Compare:
    """One message of a Secure Comparator run between the sender and `to` (comparing.py)."""

    run: Sid
    """16 random bytes that name the run."""
    to: MemberId
    step: int = field(validator=[ge(1), le(COMPARE_STEPS)])
    """From 1; the odd ones are the initiator's."""
    data: bytes = field(repr=False, validator=_at_most(_STEP_BYTES, "comparison message"))


@frozen
class CompareEnd:
    """The sender's side of a run ended without a result."""

    run: Sid
    to: MemberId
    reason: str = field(validator=_at_most(limits.SHORT_TEXT, "reason"))
    """`given_up`, `restarted` or `broken`."""


@frozen
class Alias:
    """The sender says that `member` is the same person, or (`removed`) no longer does.

    Shown only once `member` has said it too; it grants nothing.
    """

    member: MemberId
    removed: bool = False


@frozen
class Unknown:
    """A body of a type that this version does not know; `raw` is its content as JSON."""

    type: str
    raw: bytes = field(repr=False)


Content = (
    Text
    | Edit
    | Reaction
    | FileRef
    | Profile
    | RoomInfo
    | Beat
    | Redaction
    | HandoverOffer
    | HandoverAccepted
    | Compare
    | CompareEnd
    | Alias
    | Unknown
)

BODY_TYPES: Final[dict[str, type[Content]]] = {
    "text": Text,
    "edit": Edit,
    "reaction": Reaction,
    "file": FileRef,
    "profile": Profile,
    "room": RoomInfo,
    "beat": Beat,
    "redact": Redaction,
    "handover_offer": HandoverOffer,
    "handover_accept": HandoverAccepted,
    "compare": Compare,
    "compare_end": CompareEnd,
    "alias": Alias,
}
_NAMES: Final = {cls: name for name, cls in BODY_TYPES.items()}


@frozen
class Via:
    """For bridges: who said it, on a network that proves nothing to us; always shown as such."""

    network: str = field(validator=[_not_empty, _at_most(_NAME, "network's name")])
    remote_id: str = field(validator=_at_most(_NAME, "remote id"))
    name: str = field(default="", validator=_at_most(_NAME, "name"))


@frozen
class Body:
    """One message's plaintext."""

    room: RoomId
    mid: MemberId
    counter: int
    sid: Sid
    content: Content = field(metadata={"part": "content"})
    name: str = field(default="", validator=_at_most(_NAME, "name"))
    """What the sender calls itself now; untrusted, use `names.display_name`."""
    hops: int = field(default=0, validator=le(_HOPS))
    """How many automatic answers led here; bots stop a loop by it."""
    via: Via | None = None
    voids: tuple[EventId, ...] = field(
        default=(), validator=_at_most(_VOIDS, "list of voided events")
    )
    """Own events with this counter that the relay refused for good."""


def kind_of(content: Content) -> EventKind:
    """What the relay is told of such a message."""
    if isinstance(content, Beat):
        return EventKind.BEAT
    return EventKind.REDACT if isinstance(content, Redaction) else EventKind.MESSAGE


def encode_body(body: Body) -> bytes:
    """The padded plaintext; raises `BodyTooLong`, `BodyInvalid`.

    What comes out can be read back: a text with a NUL or half a character is refused here, not by
    everyone who receives it.
    """
    name, content = _unbuild_content(body.content)
    try:
        raw = dump_json({"type": name, **unbuild(body), "content": content})
        parse_json(raw, max_bytes=BUCKETS[-1])
    except UnicodeEncodeError:
        raise BodyInvalid("the text holds half a character") from None
    except Malformed as malformed:
        if malformed.kind is Code.TOO_LARGE:
            raise BodyTooLong(len(raw), BUCKETS[-1]) from None
        raise BodyInvalid(f"this can not be sent: {malformed}") from None
    return raw.ljust(next(size for size in BUCKETS if len(raw) <= size))


def decode_body(raw: bytes) -> Body:
    """The body in a plaintext; raises `Malformed`."""
    fields = parse_json(raw, max_bytes=BUCKETS[-1])
    name, content = fields.get("type"), fields.get("content")
    if not isinstance(name, str) or not isinstance(content, dict):
        raise Malformed(Code.BAD_RECORD, "the body has no type or no content")
    return build(Body, fields, content=_build_content(name, content))


def _build_content(name: str, content: dict[str, Any]) -> Content:
    cls = BODY_TYPES.get(name)
    if cls is None:
        return Unknown(name, dump_json(content))
    return build(cls, content)


def _unbuild_content(content: Content) -> tuple[str, dict[str, Any]]:
    if isinstance(content, Unknown):
        return content.type, parse_json(content.raw, max_bytes=BUCKETS[-1])
    return _NAMES[type(content)], unbuild(content)
