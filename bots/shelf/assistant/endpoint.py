"""An OpenAI-compatible endpoint: chat completions, streamed (trio).

Source: the OpenAI API reference, "Create chat completion" with `stream: true`: server-sent events
whose data are JSON chunks, the last one `[DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx
import trio
from attrs import define, field, frozen
from httpx_sse import EventSource, SSEError

from bots.shelf.assistant.settings import AssistantSettings
from bots.web import Web, WebError

__all__ = ["Endpoint", "Refused", "Turn"]

ANSWER: Final = 12_000
"""Characters of an answer that are shown."""
REST: Final = 1.0
"""Seconds for what follows the last piece of an answer."""
_DONE: Final = "[DONE]"
_SENTENCES: Final = {
    400: "it does not understand the request; my owner has to look at its settings",
    401: "it does not take my key; my owner has to look",
    403: "it does not take my key; my owner has to look",
    404: "it knows no such model or address; my owner has to look",
    413: "this thread is too long for it",
    429: "it has too much to do, or I have used it up; try again later",
}


class Refused(WebError):
    """The endpoint gives no answer, or no whole one; the sentence says why."""

    code = "assistant_refused"


@frozen
class Turn:
    """One message of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    text: str = field(repr=lambda text: f"<{len(text)}>")

    @property
    def size(self) -> int:
        """Characters."""
        return len(self.text)


@define
class Endpoint:
    """Asks for answers."""

    settings: AssistantSettings
    web: Web
    _key: str = field(repr=False)

    async def answer(self, turns: Sequence[Turn], add: Callable[[str], None]) -> None:
        """Hand the pieces of an answer to `add` as they come.

        Raises `WebError`, `Refused` among them.
        """
        settings = self.settings
        body = {
            "model": settings.model,
            "messages": [{"role": turn.role, "content": turn.text} for turn in turns],
            "max_tokens": settings.max_tokens,
            "stream": True,
        }
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        content = json.dumps(body).encode()
        async with self.web.stream(settings.url, headers=headers, content=content) as response:
            if response.status_code != 200:
                raise Refused(_sentence(response.status_code))
            await _read_all(response, add)


def _sentence(status: int) -> str:
    known = _SENTENCES.get(status)
    return known or f"it has trouble of its own (HTTP {status}); try again later"


@define
class _Reading:
    """A stream's events, one after the other, until the answer is over."""

    add: Callable[[str], None]
    size: int = 0
    over: bool = False
    problem: str = "the answer broke off"

    def take(self, data: str) -> bool:
        """One event; whether it was the last."""
        try:
            piece, self.over = _read(data)
        except Refused as error:
            self.over, self.problem = True, str(error)
            return True
        self.add(piece)
        self.size += len(piece)
        if self.over:
            self.problem = ""
        elif self.size > ANSWER:
            self.over, self.problem = True, "the answer is longer than I show"
        return self.over


async def _read_all(response: httpx.Response, add: Callable[[str], None]) -> None:
    reading = _Reading(add)
    with trio.CancelScope() as scope:
        try:
            async for event in EventSource(response).aiter_sse():
                if not reading.over and reading.take(event.data):
                    # Read to its end, or cancelled there: trio wants no generator left half-read.
                    scope.deadline = trio.current_time() + REST
        except SSEError:
            raise Refused("it does not stream its answers; my owner has to look") from None
    if reading.problem:
        raise Refused(reading.problem)


def _read(data: str) -> tuple[str, bool]:
    """The words in a chunk, and whether they are the last. Raises `Refused`."""
    if data == _DONE:
        return "", True
    try:
        chunk: Any = json.loads(data)
        if "error" in chunk:
            raise Refused("it broke the answer off with an error of its own")
        choices = chunk["choices"]
        if not choices:
            return "", False  # a chunk that only counts tokens
        piece = choices[0]["delta"].get("content") or ""
        ended = choices[0].get("finish_reason") is not None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise Refused("it answers in a form that I do not know") from None
    if not isinstance(piece, str):
        raise Refused("it answers in a form that I do not know")
    return piece, ended
