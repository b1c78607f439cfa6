"""A Secure Session over a link, sans-IO: messages in, messages out, frames counted.

Law: a session id is its canonical public key (E3, E4); every message carries our own counter, since
Secure Session alone takes replays and gaps (E1). After any error a channel is closed for good.
"""

from __future__ import annotations

from ofcd.channel.channel import MAX_MESSAGES, Channel, ChannelError

__all__ = ["MAX_MESSAGES", "Channel", "ChannelError"]
