"""One instance of libthemis.wasm: its memory, and calls.

The cost of a call is the crossing, so a call packs its arguments into one preallocated buffer
and uses wasmtime's unchecked entry. That is safe because every function called has a signature
of 32-bit integers only, fixed by the pinned module.

A sandbox belongs to the thread that made it (a wasmtime store is not thread-safe) and is entered
with `with`, once at a time. Calls release the interpreter lock, and no Python runs inside one (see
`_imports`). After a trap the sandbox is thrown away and the thread's next call makes a new one.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections import deque
from typing import Any, Final

import wasmtime
from attrs import frozen
from wasmtime import _ffi as ffi

from ofcd.themis._compiled import load_module, load_text, new_engine
from ofcd.themis._imports import BACK, FRONT, Desk
from ofcd.themis.errors import CoreFailed, CoreUnavailable

__all__ = ["MEMORY_LIMIT", "SCRATCH_CELLS", "Sandbox", "current_sandbox"]

MEMORY_LIMIT: Final = 256 * 1024 * 1024
"""Bytes one sandbox may grow to; it starts at 16 MiB and needs more only for huge messages."""
SCRATCH_CELLS: Final = 4
"""32-bit words at the head of the scratch area, for lengths that the core reads and writes."""
_FIRST_SCRATCH: Final = 128 * 1024
_SLOT: Final = 16
"""Bytes of one argument or result in an unchecked call: the size of `wasmtime_val_raw_t`."""
_MAX_ARGUMENTS: Final = 12

_call_unchecked = ctypes.CFUNCTYPE(
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
)(("wasmtime_func_call_unchecked", ffi.dll))
_PACK: Final = tuple(
    struct.Struct("<" + "Q8x" * count).pack_into for count in range(_MAX_ARGUMENTS + 1)
)


class _Local(threading.local):
    sandbox: Sandbox | None = None


_local = _Local()
_template_lock = threading.Lock()
_template: _Template | None = None


def current_sandbox() -> Sandbox:
    """This thread's sandbox, made at the first use (a millisecond; a second uncompiled)."""
    sandbox = _local.sandbox
    return sandbox if sandbox is not None and sandbox.alive else Sandbox()


def _forget_after_fork() -> None:
    """A child never runs on its parent's sandboxes: their random generators would repeat."""
    global _local, _template_lock
    _local = _Local()
    _template_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)


class Sandbox:
    """An instance of the core with a scratch area for arguments; see the module's docstring."""

    def __init__(self) -> None:
        template = _get_template()
        self._store = wasmtime.Store(template.engine)
        self._store.set_limits(memory_size=MEMORY_LIMIT)
        try:
            self._core, self._back = _instantiate(template, self._store)
        except wasmtime.WasmtimeError as error:
            raise CoreFailed(f"no memory for another Themis sandbox: {error}") from None
        self._context = self._store._context()
        self._context_address = ctypes.cast(self._context, ctypes.c_void_p).value
        self._functions: dict[str, tuple[int, Any]] = {}
        self._arguments = ctypes.create_string_buffer(_SLOT * _MAX_ARGUMENTS)
        self._arguments_address = ctypes.addressof(self._arguments)
        self._result = ctypes.c_int32.from_buffer(self._arguments)
        self._trap = ctypes.c_void_p()
        self._trap_address = ctypes.addressof(self._trap)
        self._memory: wasmtime.Memory = _export(self._store, self._core, "memory")
        self.base = _address(self._memory, self._store)
        self.desk = Desk(_address(_export(self._store, self._back, "desk"), self._store))
        self._peer_key = 0
        self.alive = True
        self._busy = threading.Lock()
        self.to_destroy: deque[tuple[str, int]] = deque()
        self.session_callbacks = 0
        self.scratch = 0
        self.scratch_bytes = 0
        self.cells: Any = None
        _local.sandbox = self
        try:
            with self.entered():
                self.call("__wasm_call_ctors")
                self.reserve(_FIRST_SCRATCH)
        except BaseException:
            _local.sandbox = None
            raise

    def entered(self) -> threading.Lock:
        """Of this thread's live sandbox, what to hold while using it.

        A lock, since its `with` is C: an exception of a signal handler can not come in between and
        leave the sandbox entered for ever.
        """
        if not self.alive or _local.sandbox is not self:
            raise CoreFailed(
                "this Themis object belongs to another thread or to a core that failed"
            )
        if self._busy.locked():  # a finalizer or a signal handler, run in the middle of a call
            raise CoreFailed("the Themis core was entered again from inside a call")
        return self._busy

    # ------------------------------------------------------------- memory

    @property
    def memory_bytes(self) -> int:
        """How large the sandbox's memory is now; 0 once it was thrown away."""
        if not self.alive:
            return 0
        return int(ffi.wasmtime_memory_data_size(self._context, ctypes.byref(self._memory._memory)))

    def reserve(self, count: int) -> int:
        """Address in the sandbox of a scratch area of at least `count` bytes, kept for reuse."""
        if count > self.scratch_bytes:
            size = max(_FIRST_SCRATCH, 1 << (count - 1).bit_length())
            if self.scratch:
                self.call("free", self.scratch)
                self.scratch = self.scratch_bytes = 0
            self.scratch = self.allocate(size)
            self.scratch_bytes = size
            self.cells = (ctypes.c_uint32 * SCRATCH_CELLS).from_address(self.base + self.scratch)
        return self.scratch

    def allocate(self, count: int) -> int:
        """Address of `count` fresh bytes in the sandbox. Raises `CoreFailed` when it is full."""
        address = self.call("malloc", count) & 0xFFFFFFFF
        if not address:
            raise CoreFailed(f"the Themis sandbox has no room for {count} bytes")
        return address

    def destroy_waiting(self) -> None:
        """Destroys the C objects whose Python owners are gone, if this is the moment for it.

        Never inside a call or from another thread: the garbage collector runs anywhere.
        """
        if not self.to_destroy or not self.alive or _local.sandbox is not self:
            return
        if self._busy.locked():
            return
        with self.entered():
            while self.to_destroy:
                self.call(*self.to_destroy.popleft())

    def checked_address(self, address: int, count: int) -> int:
        """The host address of memory that the sandbox named; raises if it is not all its own."""
        address &= 0xFFFFFFFF
        if address + count > self.memory_bytes:
            raise CoreFailed("the Themis sandbox named memory that it does not have")
        return self.base + address

    # ------------------------------------------------------------- calls

    def call(self, name: str, *arguments: int) -> int:
        """Calls an exported function of 32-bit integers; its result, 0 for one without.

        Only inside `with self.entered()`. Raises `CoreFailed` on a trap, which ends this sandbox.
        """
        function = self._functions.get(name)
        if function is None:
            function = self._find_function(name)
        self.desk.prepare()
        count = len(arguments)
        _PACK[count](self._arguments, 0, *arguments)
        error = _call_unchecked(
            self._context_address,
            function[0],
            self._arguments_address,
            count or 1,
            self._trap_address,
        )
        if error or self._trap.value:
            self.alive = False
            self._fail(error)
        return self._result.value

    def peer_key_pointer(self) -> int:
        """Index in the function table, so the C pointer, of what answers from the desk."""
        if not self._peer_key:
            table = _export(self._store, self._core, "__indirect_function_table")
            answer = _export(self._store, self._back, "peer_key")
            self._peer_key = int(table.grow(self._store, 1, answer))
        return self._peer_key

    def _find_function(self, name: str) -> tuple[int, Any]:
        function = _export(self._store, self._core, name)
        assert isinstance(function, wasmtime.Func)  # noqa: S101  names are ours, the module pinned
        found = (ctypes.addressof(function._func), function)
        self._functions[name] = found
        return found

    def _fail(self, error: int | None) -> None:
        """Throws the sandbox away and raises."""
        _local.sandbox = None
        trap, self._trap.value = self._trap.value, None
        if trap:
            ffi.wasm_trap_delete(ctypes.cast(trap, ctypes.POINTER(ffi.wasm_trap_t)))
        if error:
            ffi.wasmtime_error_delete(ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t)))
        del self._store  # not `close`: broken off by a signal's handler, it would delete twice
        raise CoreFailed("the Themis core broke off in its sandbox; a new sandbox takes over")


# ----------------------------------------------------------------- compiled once a process


@frozen
class _Template:
    """What every sandbox is made of."""

    engine: wasmtime.Engine
    core: wasmtime.Module
    front: wasmtime.Module
    back: wasmtime.Module


def _get_template() -> _Template:
    """The compiled modules, made once a process."""
    global _template
    with _template_lock:
        if _template is None:
            try:
                engine = new_engine()
                front, back = load_text(engine, FRONT), load_text(engine, BACK)
                _template = _Template(engine, load_module(engine), front, back)
            except wasmtime.WasmtimeError as error:
                raise CoreUnavailable(
                    f"wasmtime does not run the embedded Themis core here ({error}): "
                    "install libthemis instead"
                ) from None
        return _template


def _instantiate(
    template: _Template, store: wasmtime.Store
) -> tuple[wasmtime.Instance, wasmtime.Instance]:
    """The core and what answers it. Raises `wasmtime.WasmtimeError` without memory for them."""
    front = wasmtime.Instance(store, template.front, [])
    linker = wasmtime.Linker(template.engine)
    for module in ("env", "wasi_snapshot_preview1"):
        linker.define_instance(store, module, front)
    linker.define_unknown_imports_as_traps(template.core)
    core = linker.instantiate(store, template.core)
    answers = front.exports(store)["answers"]
    return core, wasmtime.Instance(store, template.back, [_export(store, core, "memory"), answers])


def _export(store: wasmtime.Store, instance: wasmtime.Instance, name: str) -> Any:
    """One export by name: asking for all 6,791 of the core takes over a second."""
    item = ffi.wasmtime_extern_t()
    raw = name.encode("ascii")
    found = ffi.wasmtime_instance_export_get(
        store._context(),
        ctypes.byref(instance._instance),
        ctypes.create_string_buffer(raw),
        len(raw),
        ctypes.byref(item),
    )
    if not found:
        raise CoreFailed(f"the Themis core exports no {name}")
    return wasmtime._extern.wrap_extern(item)


def _address(memory: wasmtime.Memory, store: wasmtime.Store) -> int:
    return ctypes.cast(memory.data_ptr(store), ctypes.c_void_p).value or 0
