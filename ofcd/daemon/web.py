"""The browser client on the relay's port: the files that `make web-build` made, and no other.

They are read once, at the start, into a table by path, so no request ever names a file on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from ofcd.errors import ConfigError
from ofcd.wire import HttpRequest, HttpResponse

__all__ = ["BUILT", "WebPages", "load_web"]

_PACKAGED: Final = Path(__file__).parents[1] / "_web"
BUILT: Final = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "web" / "dist"
"""Where a wheel has the built client; else, where a checkout has it."""

_TOTAL_BYTES: Final = 32 * 1024 * 1024
"""More than this is not the client: it all stays in memory."""

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self'",
        # Rooms may be at other relays, which only their members know.
        "connect-src 'self' ws: wss:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        # The one script address that the page makes: of its service worker (web/src/ui/offline.ts).
        "trusted-types ofc-worker",
    )
)
_SECURITY: Final = (
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # The camera is for QR codes of invites and safety numbers; the browser asks its person first.
    ("Permissions-Policy", "camera=(self), geolocation=(), microphone=()"),
)
_IMMUTABLE: Final = ("Cache-Control", "public, max-age=31536000, immutable")
_REVALIDATE: Final = ("Cache-Control", "no-cache")


@frozen
class WebPages:
    """What the client's files answer, by path; the gzip form to whoever takes it."""

    plain: Mapping[str, HttpResponse] = field(repr=False)
    zipped: Mapping[str, HttpResponse] = field(repr=False)

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        """The file of this path; None if there is none."""
        if _takes_gzip(request) and request.path in self.zipped:
            return self.zipped[request.path]
        return self.plain.get(request.path)


def load_web(folder: Path = BUILT) -> WebPages | None:
    """The built client in `folder`; None where there is none.

    Raises `ConfigError` for a folder that holds more than a client.
    """
    if not (folder / "index.html").is_file():
        return None
    files = dict(_read(folder))
    plain = {
        path: _response(path, body) for path, body in files.items() if not path.endswith(".gz")
    }
    zipped = {
        path: _response(path, files[f"{path}.gz"], ("Content-Encoding", "gzip"))
        for path in plain
        if f"{path}.gz" in files
    }
    return WebPages(_at_root(plain), _at_root(zipped))


def _read(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each file that has a type to be served with: its path as a browser asks for it, its bytes."""
    left = _TOTAL_BYTES
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or Path(file.name.removesuffix(".gz")).suffix not in _TYPES:
            continue
        left -= file.stat().st_size
        if left < 0:
            raise ConfigError(
                f"{folder} holds more than {_TOTAL_BYTES} bytes: run `make web-build`"
            )
        yield f"/{file.relative_to(folder).as_posix()}", file.read_bytes()


def _response(path: str, body: bytes, *headers: tuple[str, str]) -> HttpResponse:
    # Only what the build named after its content stays the same under its name.
    caching = _IMMUTABLE if path.startswith("/assets/") else _REVALIDATE
    kind = _TYPES[Path(path).suffix]
    fixed = (("Vary", "Accept-Encoding"), caching, *_SECURITY)
    return HttpResponse(200, body, kind, (*fixed, *headers))


def _at_root(table: Mapping[str, HttpResponse]) -> dict[str, HttpResponse]:
    return {("/" if path == "/index.html" else path): page for path, page in table.items()}


def _takes_gzip(request: HttpRequest) -> bool:
    return "gzip" in (request.header("accept-encoding") or "")
