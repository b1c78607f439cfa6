"""Chooses the Themis core, once, at import, and lends it to pythemis.

`OFCD_THEMIS=native` or `embedded` forces the choice; unset, the native library is used where one
is installed. pythemis stays as published: only while it is imported does
`ctypes.cdll.LoadLibrary` answer with the core chosen here.

The native library does cells, signatures and keys; Secure Session and Secure Comparator, which
take a peer's bytes before anything is proven of them, stay in the sandbox. libthemis 0.15.0 takes
12 from the length in a session message before it checks the tag: anyone who can change four bytes
on the way crashes a native process (tests/themis/test_session.py), and only a sandbox contains it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from importlib import import_module
from typing import Any, Final, Literal

from attrs import evolve, frozen

from ofcd.themis.errors import CoreUnavailable

__all__ = ["CoreInfo", "core_info", "pythemis_module"]

VARIABLE: Final = "OFCD_THEMIS"
CoreKind = Literal["native", "embedded"]

_NATIVE_NAMES: Final = {
    "linux": ("/usr/local/lib/libthemis.so.0", "libthemis.so.0"),
    "darwin": (
        "/usr/local/lib/libthemis.0.dylib",
        "/opt/homebrew/opt/libthemis/lib/libthemis.0.dylib",
        "/usr/local/opt/libthemis/lib/libthemis.0.dylib",
        "libthemis.0.dylib",
    ),
}
"""Where pythemis itself looks, without its last resort of guessing any library named themis."""
_NATIVE_VERSION: Final = "ABI 0"
"""libthemis exports no version of its own; its soname is what it promises."""


@frozen
class CoreInfo:
    """Which Themis core this process runs on.

    `detail` is one line for a person: where the core is, and what the other one would take.
    """

    kind: CoreKind
    version: str
    detail: str


def core_info() -> CoreInfo:
    """The core chosen when this package was imported."""
    return _INFO


def pythemis_module(name: str) -> Any:
    """A module of pythemis, running on the chosen core."""
    return import_module(f"pythemis.{name}")


def _choose() -> tuple[Any, CoreInfo]:
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "native", "embedded"):
        raise CoreUnavailable(f"{VARIABLE}={wanted} is not known: use native or embedded")
    if wanted != "embedded":
        found = _native()
        if found is not None:
            return _with_sandbox(*found, forced=wanted == "native")
        if wanted == "native":
            raise CoreUnavailable(
                f"{VARIABLE}=native, but there is no libthemis on this machine: install "
                f"libthemis from its makers' packages, or unset {VARIABLE} for the embedded core"
            )
    return _embedded()


def _native() -> tuple[Any, CoreInfo] | None:
    for name in _NATIVE_NAMES.get(sys.platform, ()):
        try:
            library = ctypes.cdll.LoadLibrary(name)
        except OSError:
            continue
        return library, CoreInfo("native", _NATIVE_VERSION, f"libthemis loaded as {name}")
    return None


class SandboxedSessions:
    """The native library, but for what parses a peer's bytes before their tag is checked."""

    _CONTAINED: Final = ("secure_session_", "secure_comparator_")

    def __init__(self, native: Any, embedded: Any) -> None:
        self._native = native
        self._embedded = embedded

    def __getattr__(self, name: str) -> Any:
        """A function of libthemis, of the library that is to run it."""
        library = self._embedded if name.startswith(self._CONTAINED) else self._native
        return getattr(library, name)


def _with_sandbox(native: Any, info: CoreInfo, *, forced: bool) -> tuple[Any, CoreInfo]:
    try:
        embedded, _ = _embedded()
    except CoreUnavailable as error:
        if not forced:
            raise CoreUnavailable(
                f"libthemis is here, but not the sandbox for its Secure Session ({error}); "
                f"{VARIABLE}=native goes without, and then a hostile peer can crash this process"
            ) from None
        return native, evolve(info, detail=f"{info.detail}; a hostile peer can crash it: {error}")
    detail = f"{info.detail}; Secure Session in a sandbox"
    return SandboxedSessions(native, embedded), evolve(info, detail=detail)


def _embedded() -> tuple[Any, CoreInfo]:
    try:
        from ofcd.themis._compiled import CORE_FILE, CORE_VERSION, check_core
        from ofcd.themis._embedded import EmbeddedLibrary
    except (ImportError, OSError, RuntimeError) as error:
        raise CoreUnavailable(
            f"the embedded Themis core needs wasmtime, which does not load here ({error}): "
            "install libthemis instead"
        ) from None
    check_core()
    detail = f"{CORE_FILE.name} in a wasmtime sandbox; install libthemis for a faster core"
    return EmbeddedLibrary(), CoreInfo("embedded", CORE_VERSION, detail)


def _lend(library: Any) -> None:
    """Imports pythemis with `library` in the place of what it would load."""
    if "pythemis" in sys.modules:
        raise CoreUnavailable("pythemis was imported before ofcd.themis: import ofcd.themis first")
    original = ctypes.cdll.LoadLibrary
    ctypes.cdll.LoadLibrary = lambda _name: library  # type: ignore[method-assign,assignment]
    try:
        for name in ("scell", "scomparator", "skeygen", "smessage", "ssession", "exception"):
            pythemis_module(name)
    finally:
        del ctypes.cdll.LoadLibrary
    assert ctypes.cdll.LoadLibrary == original  # noqa: S101  a class's method again


_LIBRARY, _INFO = _choose()
_lend(_LIBRARY)
