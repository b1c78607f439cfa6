"""Where relays live: a network namespace each, where this machine lets a test make them.

Else an address of the loopback network each: 127.0.0.2, 127.0.0.3 and so on. In a namespace a relay
has its own routes, ports and cable, and no other way to anybody than the roads of the test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from attrs import frozen

__all__ = ["Place", "places"]

_SUBNETS: Final = 4096
_TRIES: Final = 20


@frozen
class Place:
    """Where one relay lives."""

    host: str
    """The address it listens on."""
    gate: str
    """The address at which what runs beside the test is reached from here."""
    wrap: tuple[str, ...] = ()
    """A command to run a process here by."""
    cable: str = ""
    """The link that can be pulled; "" on the loopback network, which has none."""

    @property
    def is_isolated(self) -> bool:
        """Whether it has a network of its own."""
        return bool(self.cable)

    def pull(self) -> None:
        """Pull the cable; nobody is told. On the loopback network nothing happens."""
        if self.cable:
            _ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        """Put it back."""
        if self.cable:
            _ip("link", "set", self.cable, "up")


@contextmanager
def places(count: int) -> Iterator[list[Place]]:
    """So many places; `OFCD_NAMESPACES=0` takes the loopback network in any case."""
    with ExitStack() as stack:
        made = None
        if os.environ.get("OFCD_NAMESPACES") != "0" and shutil.which("ip") and os.geteuid() == 0:
            made = _namespaces(count, stack)
        yield made or [Place(f"127.0.0.{n + 2}", "127.0.0.1") for n in range(count)]


def _ip(*words: str, check: bool = True) -> bool:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr}")
    return done.returncode == 0


def _namespaces(count: int, stack: ExitStack) -> list[Place] | None:
    """Namespaces on a bridge of their own; None where this machine does not let us make them."""
    bridge = f"ofcb{os.getpid() % 1_000_000}"
    if not _ip("link", "add", bridge, "type", "bridge", check=False):
        return None
    stack.callback(_ip, "link", "del", bridge, check=False)
    net = _free_subnet(bridge)
    if net is None:
        return None
    _ip("link", "set", bridge, "up")
    return [_namespace(n, net, bridge, stack) for n in range(count)]


def _free_subnet(bridge: str) -> str | None:
    """A /24 of 10.64.0.0/10 that this machine has no route to, given to the bridge."""
    for n in range(_TRIES):
        number = (os.getpid() + n) % _SUBNETS
        net = f"10.{64 + number // 256}.{number % 256}"
        routes = subprocess.run(
            ["ip", "route", "show", "root", f"{net}.0/24"], capture_output=True, check=True
        )
        if not routes.stdout.strip() and _ip(
            "addr", "add", f"{net}.1/24", "dev", bridge, check=False
        ):
            return net
    return None


def _namespace(n: int, net: str, bridge: str, stack: ExitStack) -> Place:
    name, cable = f"{bridge}n{n}", f"{bridge}v{n}"
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "del", name, check=False)
    _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
    stack.callback(_ip, "link", "del", cable, check=False)
    _ip("link", "set", cable, "master", bridge, "up")
    host = f"{net}.{n + 2}"
    for words in (
        ("addr", "add", f"{host}/24", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("link", "set", "lo", "up"),
    ):
        _ip("-n", name, *words)
    return Place(host, f"{net}.1", ("ip", "netns", "exec", name), cable)
