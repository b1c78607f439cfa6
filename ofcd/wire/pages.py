"""Plain HTTP on the same port: one request, one answer, connection closed.

`Exchange` reads a request head with h11, under a size limit, and writes one response. What a page
says is the caller's: a function from `HttpRequest` to `HttpResponse`.
"""

from __future__ import annotations

from email.utils import formatdate
from urllib.parse import unquote

import h11
import trio
from attrs import field, frozen

from ofcd.wire.stream import RemoteAddress

__all__ = ["Exchange", "HeadError", "HttpRequest", "HttpResponse"]

_READ = 4096
_DEFAULT_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@frozen
class HttpRequest:
    """A request without its body. Header names are lower case, values are latin-1 text."""

    method: str
    path: str
    """Percent-decoded, as the client wrote it: check it before it names a file."""
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    remote: RemoteAddress | None = None

    def header(self, name: str) -> str | None:
        """The values of one header (lower-case name) joined by commas; None when absent."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    def tokens(self, name: str) -> list[str]:
        """The comma-separated values of one header, stripped."""
        return [token.strip() for token in (self.header(name) or "").split(",") if token.strip()]


@frozen
class HttpResponse:
    """An answer. Security headers are added unless `headers` (any case) sets them itself.

    The defaults: no sniffing, no referrer, not stored, and a Content-Security-Policy that allows
    nothing.
    """

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def sentence(cls, status: int, text: str, *headers: tuple[str, str]) -> HttpResponse:
        """A status with one line of plain text."""
        return cls(status, text.encode() + b"\n", headers=headers)


class HeadError(Exception):
    """The head could not be read; `response` says why."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response)
        self.response = response


class Exchange:
    """One HTTP/1.1 request and its answer on an open stream (RFC 9112)."""

    def __init__(
        self, stream: trio.abc.Stream, head_bytes: int, remote: RemoteAddress | None
    ) -> None:
        self._stream = stream
        self._remote = remote
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=head_bytes)
        self._head_bytes = head_bytes
        self._read = 0
        self._is_head = False

    async def request(self) -> HttpRequest | None:
        """The request's head; None when the client hung up before sending one.

        Raises HeadError for what is not HTTP/1.x or is too large, and trio's stream errors.
        """
        try:
            event = await self._next_event()
        except h11.RemoteProtocolError as error:
            raise _head_error(error.error_status_hint) from None
        if not isinstance(event, h11.Request):
            return None
        if self._read - len(self._http.trailing_data[0]) > self._head_bytes:
            raise _head_error(431)
        self._is_head = event.method == b"HEAD"
        path, _, query = event.target.decode("ascii").partition("?")
        headers = tuple((k.decode("ascii"), v.decode("latin-1")) for k, v in event.headers)
        return HttpRequest(event.method.decode(), unquote(path), query, headers, self._remote)

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._stream.receive_some(_READ)
            self._read += len(data)
            self._http.receive_data(bytes(data))
        return event

    async def answer(self, response: HttpResponse) -> None:
        """Send the whole response; the connection is of no more use afterwards."""
        await self._stream.send_all(self.render(response))

    def render(self, response: HttpResponse) -> bytes:
        """The response's bytes; for a HEAD request without the body."""
        own = {name.lower(): value for name, value in response.headers}
        headers = (
            _DEFAULT_HEADERS
            | own
            | {
                "date": formatdate(usegmt=True),
                "content-type": response.content_type,
                "content-length": str(len(response.body)),
                "connection": "close",
            }
        )
        head = h11.Response(status_code=response.status, headers=list(headers.items()))
        parts = [self._http.send(head)]
        if not self._is_head:
            parts.append(self._http.send(h11.Data(data=response.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        return b"".join(part for part in parts if part)

    async def switch(self, headers: list[tuple[str, str]]) -> bytes:
        """Answer 101 and return the bytes already read that belong to the new protocol.

        Raises HeadError when the request carries a body, which an upgrade must not.
        """
        if not isinstance(self._http.next_event(), h11.EndOfMessage):
            raise HeadError(HttpResponse.sentence(400, "an upgrade request must have no body"))
        trailing = self._http.trailing_data[0]
        event = h11.InformationalResponse(status_code=101, headers=headers)
        await self._stream.send_all(self._http.send(event) or b"")
        return trailing


def _head_error(status: int) -> HeadError:
    if status == 431:
        return HeadError(HttpResponse.sentence(431, "the request's head is too large"))
    return HeadError(HttpResponse.sentence(400, "this is not an HTTP/1.1 request"))
