"""What libthemis.wasm gets from its host, without the core: plain functions on a memory."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from typing import Any

import pytest
import wasmtime
from attrs import frozen

from ofcd.themis import _compiled, _imports

_ENGINE = _compiled.new_engine()
_FRONT, _BACK = (wasmtime.Module(_ENGINE, text) for text in (_imports.FRONT, _imports.BACK))
_PAGE = 65536


@frozen
class Host:
    """Both modules over a memory of one page that may grow to three."""

    store: wasmtime.Store
    memory: wasmtime.Memory
    front: Any
    back: Any
    desk: _imports.Desk

    def __call__(self, name: str, *arguments: int) -> int:
        """What the core would get."""
        module = self.back if name == "peer_key" else self.front
        return int(module[name](self.store, *arguments))

    def write(self, address: int, content: bytes) -> int:
        """Puts bytes into the core's memory; where they are."""
        self.memory.write(self.store, content, address)
        return address

    def read(self, address: int, count: int) -> bytes:
        """Bytes of the core's memory."""
        return bytes(self.memory.read(self.store, address, address + count))

    def entropy(self) -> bytes:
        """The random bytes that lie on the desk."""
        desk = self.back["desk"]
        return bytes(desk.read(self.store, _imports._ENTROPY_AT, desk.data_len(self.store)))


@pytest.fixture
def host() -> Host:
    """A new one, prepared for a call."""
    store = wasmtime.Store(_ENGINE)
    memory = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, 3)))
    front = wasmtime.Instance(store, _FRONT, []).exports(store)
    answers = front["answers"]
    assert isinstance(answers, wasmtime.Table)
    back = wasmtime.Instance(store, _BACK, [memory, answers]).exports(store)
    desk_memory = back["desk"]
    assert isinstance(desk_memory, wasmtime.Memory)
    desk = _imports.Desk(ctypes.addressof(desk_memory.get_buffer_ptr(store)))
    desk.prepare()
    return Host(store, memory, front, back, desk)


def test_random_bytes_are_given_once(host: Host) -> None:
    """Each is wiped as it is given, the next call goes on behind it, and it is replaced."""
    laid = host.entropy()
    assert len(set(laid)) > 200
    assert host("getentropy", 100, 32) == 0
    vectors = host.write(0, struct.pack("<4I", 200, 40, 300, 8))
    assert host("fd_read", 3, vectors, 2, 50) == 0
    given = host.read(100, 32) + host.read(200, 40) + host.read(300, 8)
    assert given == laid[:80]
    assert host.read(50, 4) == struct.pack("<I", 48)
    assert host.entropy() == bytes(80) + laid[80:]
    host.desk.prepare()
    assert len(set(host.entropy()[:80])) > 40
    assert host.entropy()[80:] == laid[80:]
    assert given[:32] not in host.entropy()


def test_more_random_bytes_than_there_are_trap(host: Host) -> None:
    """As does anywhere outside the memory; nothing is given twice, or as zeros."""
    there = len(host.entropy())
    for to, count in ((0, there + 1), (_PAGE - 31, 32), (0xFFFF_FFF0, 32), (0, 0xFFFF_FFFF)):
        with pytest.raises(wasmtime.Trap):
            host("getentropy", to, count)
    assert host("getentropy", 0, there) == 0
    with pytest.raises(wasmtime.Trap):
        host("getentropy", 0, 1)


def test_nothing_random_is_given_before_it_is_laid_out(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at first, and not after what broke off the laying out."""
    assert host("getentropy", 0, len(host.entropy())) == 0

    def none(_count: int) -> bytes:
        raise BlockingIOError

    monkeypatch.setattr(os, "urandom", none)
    with pytest.raises(BlockingIOError):
        host.desk.prepare()
    with pytest.raises(wasmtime.Trap):
        host("getentropy", 0, 1)


def test_only_dev_urandom_can_be_opened(host: Host) -> None:
    """No other path, no writing, no other descriptor."""
    for path, flags in (
        (b"/etc/passwd\0\0\0", 0),
        (b"/dev/urandom\0", 1),
        (b"/dev/urandom\0", 2),
        (b"/dev/urandom2\0", 0),
        (b"/dev/urando\0\0", 0),
        (b"/dev/Urandom\0", 0),
    ):
        assert host("__syscall_open", host.write(64, path), flags, 0) == -44
    assert host("__syscall_open", host.write(64, b"/dev/urandom\0"), 0o2000000, 0) == 3
    assert host("__syscall_fcntl64", 3, 2, 1) == 0
    assert host("fd_read", 0, 0, 1, 0) == 8
    with pytest.raises(wasmtime.Trap):
        host("__syscall_open", _PAGE - 4, 0, 0)


def test_memory_grows_to_its_limit(host: Host) -> None:
    """To whole pages; what is there already is no growth, and too much is refused."""
    for count, answer, pages in (
        (0, 1, 1),
        (_PAGE, 1, 1),
        (_PAGE + 1, 1, 2),
        (_PAGE, 1, 2),
        (3 * _PAGE + 1, 0, 2),
        (0xFFFF_FFFF, 0, 2),
        (3 * _PAGE, 1, 3),
    ):
        assert host("emscripten_resize_heap", count) == answer
        assert host.memory.size(host.store) == pages


def test_the_rest_of_what_the_core_asks_for(host: Host) -> None:
    """A copy, the time of the call, no environment."""
    host.write(10, b"abcdef")
    assert host("emscripten_memcpy_big", 12, 10, 6) == 12
    assert host.read(10, 8) == b"ababcdef"
    now = host("time", 0)
    assert abs(now - time.time()) < 60
    assert host("time", 20) == now
    assert host.read(20, 4) == struct.pack("<I", now)
    host.write(40, b"12345678")
    assert host("environ_sizes_get", 40, 44) == 0
    assert host.read(40, 8) == bytes(8)
    assert host("environ_get", 0, 0) == 0


def test_a_key_is_given_for_its_name_only(host: Host) -> None:
    """Whole, into a buffer that holds it; none for any other name, and none afterwards."""
    host.write(100, b"peer" + b"Peer" + b"peeR")

    def ask(name: int, name_bytes: int = 4, key_bytes: int = 3) -> int:
        return host("peer_key", name, name_bytes, 200, key_bytes, 0)

    assert ask(100) == ask(100, 0, 1024) == 1
    host.desk.set_peer(b"peer", b"key")
    for other in ((104, 4, 3), (108, 4, 3), (100, 3, 3), (100, 5, 3), (100, 0, 3), (100, 4, 2)):
        assert ask(*other) == 1
    assert host.read(200, 4) == bytes(4)
    assert ask(100) == 0
    assert host.read(200, 4) == b"key\0"
    host.desk.clear_peer()
    assert ask(100) == 1
    for name, key in ((bytes(1025), b"key"), (b"peer", bytes(_PAGE))):
        host.desk.set_peer(name, key)
        assert ask(100, len(name), _PAGE) == 1
