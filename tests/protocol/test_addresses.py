"""Addresses of relays in records, and where nobody's word may send a client."""

from __future__ import annotations

import pytest

from ofcd.protocol.addresses import first_reachable, is_address

PUBLIC = "wss://r.example"
PRIVATE = (
    "ws://127.0.0.1:5100",
    "ws://127.1",
    "ws://2130706433",
    "ws://10.0.0.7",
    "ws://172.16.9.1",
    "ws://192.168.0.1",
    "ws://169.254.169.254/latest",
    "ws://100.64.0.1",
    "ws://0.0.0.0",
    "ws://[::1]:5100",
    "ws://[fe80::1]",
    "ws://[fd00::1]",
    "ws://[::ffff:10.0.0.7]",
    "ws://[::::]",
    "ws://localhost",
    "ws://LOCALHOST.",
    "ws://printer.local",
    "ws://router",
    "ws://0x7f.0.0.0xa",
    "ws://0x7f.0.0.0xA.:80",
)
OPEN = (PUBLIC, "wss://8.8.8.8:443", "wss://[2606:4700::1111]", "wss://127.0.0.1.example")


def test_what_an_address_is() -> None:
    """The same for everybody: the vectors have what is none."""
    assert all(map(is_address, (*OPEN, *PRIVATE)))
    assert is_address("ws://r.example:65535/ofc/")
    assert is_address("wss://" + "w" * 194)


@pytest.mark.parametrize("url", PRIVATE)
def test_no_client_is_sent_into_a_private_network(url: str) -> None:
    """It goes to the first address that is public; and where it is in one already, to any."""
    assert first_reachable((url,), PUBLIC) is None
    assert first_reachable((url, PUBLIC), PUBLIC) == PUBLIC
    assert first_reachable((url, PUBLIC), "ws://192.168.0.2") == url


@pytest.mark.parametrize("url", OPEN)
def test_a_client_is_sent_to_a_public_place(url: str) -> None:
    """Whether or not it knew it before."""
    assert first_reachable((url,), PUBLIC) == url
