"""The sandbox: traps, memory, threads, fork, and the cache of compiled code.

These run whichever core the rest of the suite runs on.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import gc
import hashlib
import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import wasmtime

from ofcd.themis import _compiled, _sandbox
from ofcd.themis._embedded import EmbeddedLibrary, Handle
from ofcd.themis._sandbox import MEMORY_LIMIT, Sandbox, current_sandbox
from ofcd.themis.errors import CoreFailed, CoreUnavailable, InvalidInput
from tests.themis.helpers import established

LIBRARY = EmbeddedLibrary()
KEY, CONTEXT = bytes(range(200, 232)), bytes(32)
_INTERRUPTED = tuple(os.path.dirname(str(module.__file__)) for module in (_sandbox, wasmtime))


def seal(text: bytes) -> bytes:
    """One seal through the C interface, as pythemis does it."""
    size = ctypes.c_int(len(text) + 44)
    out = ctypes.create_string_buffer(size.value)
    status = LIBRARY.themis_secure_cell_encrypt_seal(  # type: ignore[attr-defined]
        KEY, 32, CONTEXT, 32, text, len(text), out, ctypes.byref(size)
    )
    assert status == 0
    return out.raw[: size.value]


Test = Callable[[], None]


def in_own_thread(test: Test) -> Test:
    """Runs a test that breaks its sandbox where no other test has objects in it."""

    @functools.wraps(test)
    def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(test).result()

    return run


@in_own_thread
def test_a_trap_is_a_typed_error_and_a_new_sandbox_takes_over() -> None:
    """Reading past the memory, freeing what was never allocated: the process lives on.

    With faulthandler on, as it is under pytest: a trap raises no signal.
    """
    faulthandler.enable()
    for name, arguments in (
        ("themis_is_valid_asym_key", (0xFFFF_FFF0, 45)),
        ("secure_session_destroy", (0xFFFF_0000,)),
        ("secure_session_wrap", (0xFFFF_0000, 0xFFFF_0000, 9, 0xFFFF_0000, 0xFFFF_0000)),
    ):
        broken = current_sandbox()
        with pytest.raises(CoreFailed), broken.entered():
            broken.call(name, *arguments)
        assert not broken.alive
        with pytest.raises(CoreFailed), broken.entered():
            pytest.fail("a dead sandbox was entered")
        assert current_sandbox() is not broken
        assert len(seal(b"served by the next")) == 18 + 44


@in_own_thread
def test_objects_of_a_dead_sandbox_are_refused_and_freed_quietly() -> None:
    """A comparison that lived in it raises a typed error; destroying it does nothing."""
    comparison = LIBRARY.secure_comparator_create()
    assert isinstance(comparison, Handle)
    with pytest.raises(CoreFailed), comparison.sandbox.entered():
        comparison.sandbox.call("secure_session_destroy", 0xFFFF_0000)
    with pytest.raises(CoreFailed):
        LIBRARY.secure_comparator_get_result(comparison)  # type: ignore[attr-defined]
    assert LIBRARY.secure_comparator_destroy(comparison) == 0


@in_own_thread
def test_an_exception_before_a_call_comes_out_as_itself() -> None:
    """Ctrl-C while random bytes are laid out is a KeyboardInterrupt; they are, the next time."""

    def interrupted(_count: int) -> bytes:
        raise KeyboardInterrupt

    seal(b"takes some")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "urandom", interrupted)
        with pytest.raises(KeyboardInterrupt):
            seal(b"text")
    assert seal(b"text") != seal(b"text")


@in_own_thread
def test_no_python_runs_inside_a_call() -> None:
    """There an exception of a signal handler would kill the process, whatever is caught where."""
    run: set[str] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_back and frame.f_back.f_code is Sandbox.call.__code__:
            run.add(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        seal(bytes(1_000_000))
        ends = established()
    finally:
        sys.setprofile(None)
    assert all(end.is_established for end in ends)
    assert run <= {"_find_function", "prepare"}


class Interrupted(BaseException):
    """What the handler of a signal raises, as that of Ctrl-C or of a test's time limit does."""


def interrupted_at(step: int, action: Callable[[], object]) -> bool:
    """Acts, with an exception where our own code is at that step; False when it has fewer.

    A step is the beginning or the end of a function: there the interpreter handles signals.
    """
    left = step

    def note(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal left
        if event != "c_call" and frame.f_code.co_filename.startswith(_INTERRUPTED):
            left -= 1
            if left < 0:
                raise Interrupted

    sys.setprofile(note)
    try:
        action()
    except Interrupted:
        pass
    finally:
        sys.setprofile(None)
    return left < 0


def trap() -> None:
    """Makes a sandbox, breaks it, and lets go of it."""
    broken = Sandbox()
    with contextlib.suppress(CoreFailed), broken.entered():
        broken.call("themis_is_valid_asym_key", 0xFFFF_FFF0, 45)


def end_at_a_second_deletion(delete: Callable[..., None]) -> Callable[..., None]:
    """Of one store: it is not always that it shows."""

    def deletes(store: wasmtime.Store, pointer: Any) -> None:
        if hasattr(store, "deleted"):
            os._exit(3)
        store.deleted = True  # type: ignore[attr-defined]
        delete(store, pointer)

    return deletes


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("action", [lambda: seal(b"text"), trap], ids=["call", "trap"])
def test_an_exception_anywhere_in_a_call_breaks_only_that(action: Callable[[], object]) -> None:
    """The process lives, and the sandbox can be entered again. In a child: else it dies of it."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            sys.unraisablehook = lambda _: None
            wasmtime.Store._delete = end_at_a_second_deletion(wasmtime.Store._delete)  # type: ignore[method-assign]
            steps = 0
            while interrupted_at(steps, action):
                seal(b"the next")
                steps += 1
            os._exit(0 if steps > 20 else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_a_request_for_too_much_memory_is_refused() -> None:
    """The sandbox has a limit, says so, and still works."""
    sandbox = current_sandbox()
    with pytest.raises(CoreFailed, match="no room"), sandbox.entered():
        sandbox.allocate(MEMORY_LIMIT)
    assert sandbox.alive
    assert seal(b"text")


def test_a_sandbox_is_entered_once_at_a_time() -> None:
    """A finalizer that seals in the middle of a call is refused; nothing is overwritten."""
    with current_sandbox().entered(), pytest.raises(CoreFailed, match="again"):
        seal(b"text")
    assert seal(b"text")


def test_nothing_of_a_call_is_left_in_the_sandbox() -> None:
    """After a call neither key nor plaintext is anywhere in its memory."""
    sandbox = current_sandbox()
    marker = os.urandom(16)
    seal(marker * 50)
    left = ctypes.string_at(sandbox.base, sandbox.memory_bytes)
    assert marker not in left
    assert KEY not in left


def test_lengths_beyond_a_buffer_are_refused() -> None:
    """The shim never reads or writes past what Python allocated."""
    out, size = ctypes.create_string_buffer(10), ctypes.c_int(1000)
    for text, length in ((b"short", 6), (b"short", -1)):
        with pytest.raises(InvalidInput):
            LIBRARY.themis_secure_cell_encrypt_seal(  # type: ignore[attr-defined]
                KEY, 32, CONTEXT, 32, text, length, out, ctypes.byref(ctypes.c_int(10))
            )
    with pytest.raises(InvalidInput):
        LIBRARY.themis_secure_cell_encrypt_seal(  # type: ignore[attr-defined]
            KEY, 32, CONTEXT, 32, b"text", 4, out, ctypes.byref(size)
        )


def test_each_thread_has_its_own_sandbox() -> None:
    """Eight threads seal at once; none uses another's, and none is left afterwards."""
    seen: list[int] = []
    ready = threading.Barrier(8)

    def work() -> None:
        ready.wait()
        for _ in range(20):
            seal(b"from a thread")
        seen.append(id(current_sandbox()))
        ready.wait()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 8
    assert id(current_sandbox()) not in seen


def test_an_object_is_not_used_from_another_thread() -> None:
    """Refused there; destroyed later, by its own thread."""
    comparison = LIBRARY.secure_comparator_create()
    assert isinstance(comparison, Handle)
    refused: list[CoreFailed] = []

    def elsewhere() -> None:
        try:
            LIBRARY.secure_comparator_get_result(comparison)  # type: ignore[attr-defined]
        except CoreFailed as error:
            refused.append(error)
        LIBRARY.secure_comparator_destroy(comparison)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(refused) == 1
    assert len(comparison.sandbox.to_destroy) == 1
    LIBRARY.secure_comparator_destroy(LIBRARY.secure_comparator_create())
    assert not comparison.sandbox.to_destroy


def test_a_finished_thread_leaves_no_sandbox() -> None:
    """Its 16 MiB go with it."""
    kept: list[weakref.ref[Sandbox]] = []
    thread = threading.Thread(target=lambda: kept.append(weakref.ref(current_sandbox())))
    thread.start()
    thread.join()
    gc.collect()
    assert kept[0]() is None


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_afresh() -> None:
    """Parent and child never share a random generator: the child gets a sandbox of its own."""
    before = current_sandbox()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        fresh = current_sandbox() is not before
        os.write(write, seal(b"same text") + bytes([fresh]))
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert answer[-1] == 1
    assert answer[:-1] != seal(b"same text")
    assert current_sandbox() is before


def test_an_address_outside_the_memory_is_refused() -> None:
    """What the sandbox names, the host checks."""
    sandbox = current_sandbox()
    for address, count in (
        (sandbox.memory_bytes, 1),
        (0xFFFF_FFFF, 1),
        (0, sandbox.memory_bytes + 1),
    ):
        with pytest.raises(CoreFailed):
            sandbox.checked_address(address, count)


# ----------------------------------------------------------------- the cache of compiled code


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a compiler that only counts: compiling the real core takes a second."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = _compiled.cache_directory()
    assert directory == tmp_path / "ofcd"
    return directory


WAT = '(module (func (export "answer") (result i32) i32.const 42))'


@pytest.fixture
def small_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A tiny module in the core's place, with its own pinned hash."""
    path = tmp_path / "small.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(WAT)))
    monkeypatch.setattr(_compiled, "CORE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def load(path: Path) -> int:
    """Loads, instantiates, asks."""
    engine = _compiled.new_engine()
    module = _compiled.load_module(engine, path)
    store = wasmtime.Store(engine)
    answer = wasmtime.Instance(store, module, []).exports(store)["answer"]
    assert isinstance(answer, wasmtime.Func)
    return int(answer(store))


def cached_file(cache: Path) -> Path:
    """The one file in it."""
    (file,) = cache.iterdir()
    return file


def test_what_is_compiled_is_kept_and_used(cache: Path, small_core: Path) -> None:
    """The second load reads the first one's file; both work; only the owner may touch it."""
    assert load(small_core) == 42
    kept = cached_file(cache).stat()
    assert kept.st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700
    assert load(small_core) == 42
    assert cached_file(cache).stat().st_ino == kept.st_ino


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_a_damaged_cache_file_is_compiled_anew(cache: Path, small_core: Path, damage: str) -> None:
    """Whatever is wrong with it, nothing of it is run, and it is replaced."""
    load(small_core)
    file = cached_file(cache)
    whole = file.read_bytes()
    foreign = b"not compiled code"
    file.write_bytes(
        {
            "empty": b"",
            "cut": whole[:-1],
            "flipped": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
            "foreign": hashlib.sha256(foreign).digest() + foreign,
        }[damage]
    )
    assert load(small_core) == 42
    assert len(cached_file(cache).read_bytes()) == len(whole)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_cache_file_that_others_may_write_is_not_trusted(
    cache: Path, small_core: Path, mode: int
) -> None:
    """It is replaced by one that is ours alone."""
    load(small_core)
    before = cached_file(cache).stat().st_ino
    cached_file(cache).chmod(mode)
    assert load(small_core) == 42
    after = cached_file(cache).stat()
    assert (after.st_ino, after.st_mode & 0o777) != (before, mode)
    assert after.st_mode & 0o777 == 0o600


def test_a_cache_file_that_is_a_link_is_not_followed(
    cache: Path, small_core: Path, tmp_path: Path
) -> None:
    """Nor is what it points to changed."""
    load(small_core)
    file = cached_file(cache)
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    content = elsewhere.read_bytes()
    assert load(small_core) == 42
    assert not file.is_symlink()
    assert elsewhere.read_bytes() == content


def test_a_cache_folder_that_others_may_write_is_not_used(
    cache: Path, small_core: Path, tmp_path: Path
) -> None:
    """Neither read nor written; loading works without."""
    cache.chmod(0o777)
    assert _compiled.cache_directory() is None
    assert load(small_core) == 42
    assert list(cache.iterdir()) == []
    cache.rmdir()
    cache.symlink_to(tmp_path)
    assert _compiled.cache_directory() is None


def test_no_cache_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, small_core: Path, tmp_path: Path
) -> None:
    """A home that is a file, or a relative one: compiled each time."""
    (tmp_path / "file").write_bytes(b"")
    for home in (str(tmp_path / "file"), "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        assert _compiled.cache_directory() is None
        assert load(small_core) == 42


def test_writers_at_once_leave_one_whole_file(cache: Path, small_core: Path) -> None:
    """Eight threads compile and write: the file left is good, and nothing else is."""
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(load(small_core))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [42] * 8
    assert cached_file(cache).stat().st_mode & 0o777 == 0o600
    assert load(small_core) == 42


def test_another_core_than_the_pinned_one_is_refused(tmp_path: Path, cache: Path) -> None:
    """By its hash, before anything is compiled or cached."""
    path = tmp_path / "libthemis.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(WAT)))
    with pytest.raises(CoreUnavailable, match="make core"):
        _compiled.load_module(_compiled.new_engine(), path)
    with pytest.raises(CoreUnavailable, match="make core"):
        _compiled.load_module(_compiled.new_engine(), tmp_path / "nowhere")
    assert list(cache.iterdir()) == []
