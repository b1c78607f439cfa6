"""libthemis.wasm compiled to machine code, once a process and, through a cache, once a user.

Compiling takes about a second, loading what was compiled some milliseconds. What is loaded is
machine code, so a cache file is used only if nobody but its owner, us, could have written it,
and its digest is checked so that a torn or rotten file is compiled anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import stat
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

import wasmtime

from ofcd.themis.errors import CoreUnavailable

__all__ = [
    "CORE_FILE",
    "CORE_VERSION",
    "cache_directory",
    "check_core",
    "load_module",
    "load_text",
    "new_engine",
]

CORE_VERSION: Final = "0.15.0"
CORE_FILE: Final = Path(__file__).with_name("core") / "libthemis.wasm"
CORE_SHA256: Final = "74b8879f39f07bf84924b5307adf40f054dcfa8ed0679ab37da038a3a00d1988"
"""Of libthemis.wasm in the npm package wasm-themis 0.15.0; tools/fetch_core.py checks it too."""

_CONFIG_TAG: Final = "1"
"""Raise when `new_engine` changes: part of the cache key."""
_DIGEST_BYTES: Final = 32
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def new_engine() -> wasmtime.Engine:
    """An engine whose sandboxes never move their memory, so its address can be kept.

    Bounds are checked by instructions, not by page faults: another SIGSEGV handler in the
    process (`faulthandler`, a crash reporter) can then never turn a trap into a dead process.
    """
    config = wasmtime.Config()
    config.memory_may_move = False
    config.memory_reservation = 256 * 1024 * 1024
    config.signals_based_traps = False
    config.wasm_threads = False
    return wasmtime.Engine(config)


def check_core() -> None:
    """Raises `CoreUnavailable` when the embedded core was never built in."""
    if not CORE_FILE.is_file():
        raise CoreUnavailable(f"the embedded Themis core is not at {CORE_FILE}: run `make core`")


def load_module(engine: wasmtime.Engine, source: Path = CORE_FILE) -> wasmtime.Module:
    """The compiled core, from the cache when it holds a trustworthy copy.

    Raises `CoreUnavailable` when `source` is missing or is not the pinned core.
    """
    try:
        wasm = source.read_bytes()
    except OSError as error:
        raise CoreUnavailable(
            f"the embedded Themis core is not at {source} ({error.strerror}): run `make core`"
        ) from None
    digest = hashlib.sha256(wasm).hexdigest()
    if digest != CORE_SHA256:
        raise CoreUnavailable(
            f"{source} is not the Themis core this version was made for: "
            "delete it and run `make core`"
        )
    return _compiled(engine, wasm, digest)


def load_text(engine: wasmtime.Engine, text: str) -> wasmtime.Module:
    """A module of our own in the text format, through the same cache."""
    return _compiled(engine, text, hashlib.sha256(text.encode()).hexdigest())


def _compiled(engine: wasmtime.Engine, source: str | bytes, digest: str) -> wasmtime.Module:
    directory = cache_directory()
    compiler = f"{version('wasmtime')}-{platform.machine()}-{_CONFIG_TAG}"
    name = f"themis-{digest[:16]}-{compiler}.bin"
    cached = None if directory is None else _read_cache(directory / name)
    if cached is not None:
        with contextlib.suppress(wasmtime.WasmtimeError):
            return wasmtime.Module.deserialize(engine, cached)
    module = wasmtime.Module(engine, source)
    if directory is not None:
        _write_cache(directory / name, bytes(module.serialize()))
    return module


def cache_directory() -> Path | None:
    """Our own folder in the user's cache, mode 0700; None where there can be no safe one."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(root):
        return None
    directory = Path(root) / "ofcd"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
    except OSError:
        return None
    return directory if stat.S_ISDIR(status.st_mode) and _only_ours(status) else None


def _only_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & _WRITABLE_BY_OTHERS


def _read_cache(path: Path) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not (stat.S_ISREG(status.st_mode) and _only_ours(status)):
            return None
        content = file.read()
    digest, compiled = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return compiled if hashlib.sha256(compiled).digest() == digest else None


def _write_cache(path: Path, compiled: bytes) -> None:
    """Written beside and renamed into place: two writers leave one whole file, either's."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=".themis-", dir=path.parent)
    except OSError:
        return
    try:
        with open(handle, "wb") as file:
            file.write(hashlib.sha256(compiled).digest())
            file.write(compiled)
        os.replace(temporary, path)
    except OSError:  # a full disk costs the next start a second, no more
        with contextlib.suppress(OSError):
            os.unlink(temporary)
