"""What one mail may cost us, with the reason for each; nothing a stranger sends is read beyond."""

from __future__ import annotations

from typing import Final

__all__: list[str] = []

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAIL_BYTES: Final = 25 * MIB
"""A whole mail: what the large providers take, and under a relay's default for one attachment."""
HEADER_BYTES: Final = 256 * KIB
"""All header fields: a mail to 10,000 recipients is over it, and is read without them."""
FIELD_BYTES: Final = 16 * KIB
"""One header field; what is longer is cut there."""
FIELDS: Final = 1000
BOUNDARIES: Final = 30
"""Multiparts of one mail, forwarded ones within it too: each costs a comparison for every line."""
PARTS: Final = 1000
"""Parts of one mail."""
ATTACHMENTS: Final = 50
"""Files of one mail that are brought into the room one by one; more are in the original."""
TEXT_BYTES: Final = 1 * MIB
"""Text of one mail that is looked at, and the same of HTML."""
LINES: Final = 20_000
ROOM_TEXT_BYTES: Final = 24_000
"""Text of one mail shown in a room: half of what fits one message, for JSON may double it."""
REFERENCES: Final = 100
"""Ids of earlier mails that are looked up."""
ADDRESSES: Final = 1000
"""Addresses of one field that are read."""
