"""HTTP for bots: requests that can not be turned inwards, and a door for hooks.

`Web` is httpx on trio with limits of size and time, through a guard that connects to public
addresses only. `listen` serves small requests over h11. Needs `pip install ofcd[web]`.
"""

from __future__ import annotations

from bots.web.client import Fetched, Network, Web, check_private, checked_url, place_of, retry_after
from bots.web.errands import Errands
from bots.web.errors import BadUrl, Forbidden, TooBig, Unanswered, WebError
from bots.web.guard import Guard
from ofcd.client.webserver import HttpAnswer, HttpLimits, HttpRequest, listen, serve_stream

__all__ = [
    "BadUrl",
    "Errands",
    "Fetched",
    "Forbidden",
    "Guard",
    "HttpAnswer",
    "HttpLimits",
    "HttpRequest",
    "Network",
    "TooBig",
    "Unanswered",
    "Web",
    "WebError",
    "check_private",
    "checked_url",
    "listen",
    "place_of",
    "retry_after",
    "serve_stream",
]
