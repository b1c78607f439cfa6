from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from bridge.email import submitting
from bridge.email.network import EmailNetwork
from ofcd.testing import World, open_world
from tests.bridge.email.post import Post
from tests.bridge.email.servers import MailServers, free_port, mail_servers


@pytest.fixture(scope="session")
def _servers() -> Iterator[MailServers]:
    """Both servers, for all tests of a process: each uses people and addresses of its own."""
    bridge = f"lmtp:inet:127.0.0.1:{free_port()}"
    other = f"lmtp:inet:127.0.0.1:{free_port()}"
    with mail_servers(bridge=bridge, other=other) as made:
        yield made


@pytest.fixture
def servers(_servers: MailServers) -> MailServers:
    """Both servers, with no mail of an earlier test on its way."""
    _servers.forget_mail()
    return _servers


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "world") as made:
        yield made


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    made = Post()
    monkeypatch.setattr(submitting, "connect", made.connect)

    async def inline(work: Callable[..., Any], *args: Any, **_more: Any) -> Any:
        """A thread's wait would let the clock jump."""
        await trio.lowlevel.checkpoint()
        return work(*args)

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)

    async def deaf(_network: EmailNetwork) -> None:
        """No port is opened: the tests hand in what LMTP would."""
        await trio.sleep_forever()

    monkeypatch.setattr(EmailNetwork, "_listen", deaf)
    return made
