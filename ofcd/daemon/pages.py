"""The pages on the relay's port: the browser client, what this is, health, metrics."""

from __future__ import annotations

import html
from collections.abc import Callable

from ofcd.config import Settings
from ofcd.daemon.identity import Identity
from ofcd.daemon.metrics import Metrics
from ofcd.daemon.web import WebPages
from ofcd.wire import HttpRequest, HttpResponse

__all__ = ["DESCRIPTOR_PAGE", "make_pages"]

DESCRIPTOR_PAGE = "/.well-known/ofc/relay.json"

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} · ofcd relay</title>
<style>
  :root {{ color-scheme: light dark; font: 1.05rem/1.6 system-ui, sans-serif }}
  body {{ max-width: 42rem; margin: 4rem auto; padding: 0 1.5rem }}
  code {{ font-family: ui-monospace, monospace; overflow-wrap: anywhere }}
  h1 {{ font-size: 1.6rem; line-height: 1.3 }}
</style>
<h1>{name} is a relay for encrypted rooms</h1>
<p>People talk here through <strong>ofcd</strong>. This relay carries their sealed messages and
keeps them in order. It holds no key to any of them: what is said in a room only its members can
read.</p>
<p>To talk, use the <code>ofc</code> command with this relay's address:</p>
<p><code>ofc --relay {url} create "my room"</code></p>
<p>This relay's fingerprint, which every invite carries and every client checks:</p>
<p><code>{fingerprint}</code></p>
</html>
"""


def make_pages(
    settings: Settings,
    identity: Identity,
    metrics: Metrics,
    url: Callable[[], str],
    healthy: Callable[[], str | None],
    web: WebPages | None = None,
    descriptor: Callable[[], bytes] | None = None,
) -> Callable[[HttpRequest], HttpResponse]:
    """The pages of one relay.

    `descriptor` makes its page for other relays, where it talks to any.

    `healthy` returns None, or one sentence that says what is wrong. `web` is the browser client,
    where it was built: it is at `/` then, and what this relay is stands at `/about` alone.
    """

    def index(_: HttpRequest) -> HttpResponse:
        text = _INDEX.format(
            name=html.escape(settings.relay.name),
            url=html.escape(url()),
            fingerprint=identity.fingerprint,
        )
        csp = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        headers = (("Content-Security-Policy", csp),)
        return HttpResponse(200, text.encode(), "text/html; charset=utf-8", headers)

    def health(_: HttpRequest) -> HttpResponse:
        trouble = healthy()
        return HttpResponse.sentence(200 if trouble is None else 503, trouble or "ok")

    def counted(_: HttpRequest) -> HttpResponse:
        return HttpResponse(200, metrics.render(), _PROMETHEUS)

    def described(_: HttpRequest) -> HttpResponse:
        if descriptor is None:
            return HttpResponse.sentence(404, "this relay talks to no others")
        return HttpResponse(200, descriptor(), "application/json")

    table = {"/": index, "/about": index, "/healthz": health, DESCRIPTOR_PAGE: described}
    if settings.metrics.enabled:
        table[settings.metrics.path] = counted

    def pages(request: HttpRequest) -> HttpResponse:
        file = web.answer(request) if web else None
        if file is not None:
            return file
        page = table.get(request.path)
        return page(request) if page else HttpResponse.sentence(404, "there is no such page here")

    return pages
