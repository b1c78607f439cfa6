"""One instance of libthemis.wasm: its memory, the few things it may ask the host, and calls.

The cost of a call is the crossing, so a call packs its arguments into one preallocated buffer
and uses wasmtime's unchecked entry. That is safe because every function called has a signature
of 32-bit integers only, fixed by the pinned module.

A sandbox belongs to the thread that made it (a wasmtime store is not thread-safe) and is entered
with `with`, once at a time. Calls release the interpreter lock. After a trap the sandbox is thrown
away and the thread's next call makes a new one.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi

from ofcd.themis._compiled import load_module, new_engine
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
_RANDOM_FD: Final = 3
_EBADF: Final = 8
_ENOENT: Final = -44
_O_ACCMODE: Final = 3

_call_unchecked = ctypes.CFUNCTYPE(
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
)(("wasmtime_func_call_unchecked", ffi.dll))
_HostCallback = ctypes.CFUNCTYPE(
    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
)
_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()
_PACK: Final = tuple(
    struct.Struct("<" + "Q8x" * count).pack_into for count in range(_MAX_ARGUMENTS + 1)
)


class _Local(threading.local):
    sandbox: Sandbox | None = None


_local = _Local()
_template_lock = threading.Lock()
_template: tuple[wasmtime.Engine, wasmtime.InstancePre, list[object]] | None = None


def current_sandbox() -> Sandbox:
    """This thread's sandbox, made at the first use (a millisecond; a second uncompiled)."""
    sandbox = _local.sandbox
    return Sandbox() if sandbox is None else sandbox


def _forget_after_fork() -> None:
    """A child never runs on its parent's sandboxes: their random generators would repeat."""
    global _local, _template_lock
    _local = _Local()
    _template_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)


class Sandbox:
    """An instance of the core with a scratch area for arguments; see the module's docstring."""

    def __init__(self) -> None:
        engine, instance_pre, _ = _get_template()
        self._store = wasmtime.Store(engine)
        self._store.set_limits(memory_size=MEMORY_LIMIT)
        try:
            self._instance = instance_pre.instantiate(self._store)
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
        memory = self._export("memory")
        assert isinstance(memory, wasmtime.Memory)  # noqa: S101  the pinned module exports it
        self._memory = memory
        self.base = ctypes.cast(memory.data_ptr(self._store), ctypes.c_void_p).value or 0
        self.alive = True
        self.busy = False
        self.pending: BaseException | None = None
        self.to_destroy: deque[tuple[str, int]] = deque()
        self.calling: Any = None
        self.session_callbacks = 0
        self.scratch = 0
        self.scratch_bytes = 0
        self.cells: Any = None
        _local.sandbox = self
        with self:
            self.call("__wasm_call_ctors")
            self.reserve(_FIRST_SCRATCH)

    def __enter__(self) -> None:
        if not self.alive or _local.sandbox is not self:
            raise CoreFailed(
                "this Themis object belongs to another thread or to a core that failed"
            )
        if self.busy:  # a finalizer or a signal handler, run in the middle of a call
            raise CoreFailed("the Themis core was entered again from inside a call")
        self.busy = True

    def __exit__(self, *_exception: object) -> None:
        self.busy = False

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
        if self.busy or not self.alive or _local.sandbox is not self or not self.to_destroy:
            return
        with self:
            while self.to_destroy:
                self.call(*self.to_destroy.popleft())

    def checked_address(self, address: int, count: int) -> int:
        """The host address of memory that the sandbox named; raises if it is not all its own."""
        address &= 0xFFFFFFFF
        if address + count > self.memory_bytes:
            raise CoreFailed("the Themis sandbox named memory that it does not have")
        return self.base + address

    def grow_to(self, count: int) -> bool:
        """Makes the memory at least `count` bytes; False when that is over the limit."""
        missing = count - self.memory_bytes
        if missing <= 0:
            return True
        try:
            self._memory.grow(self._store, -(-missing // 65536))
        except wasmtime.WasmtimeError:
            return False
        return True

    # ------------------------------------------------------------- calls

    def call(self, name: str, *arguments: int) -> int:
        """Calls an exported function of 32-bit integers; its result, 0 for one without.

        Only inside `with self`. Raises `CoreFailed` on a trap, after which this sandbox is dead.
        """
        function = self._functions.get(name)
        if function is None:
            function = self._find_function(name)
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
            self._fail(error)
        return self._result.value

    def add_callback(self, callback: Callable[..., int]) -> int:
        """Puts a host function of five i32 into the function table; its index is the C pointer."""
        i32 = wasmtime.ValType.i32()
        function_type = wasmtime.FuncType([i32] * 5, [i32])
        function = wasmtime.Func(self._store, function_type, callback)
        table = self._export("__indirect_function_table")
        assert isinstance(table, wasmtime.Table)  # noqa: S101  the pinned module exports it
        return table.grow(self._store, 1, function)

    def _find_function(self, name: str) -> tuple[int, Any]:
        function = self._export(name)
        assert isinstance(function, wasmtime.Func)  # noqa: S101  names are ours, the module pinned
        found = (ctypes.addressof(function._func), function)
        self._functions[name] = found
        return found

    def _export(self, name: str) -> object:
        """One export by name: asking for all 6,791 takes over a second."""
        item = ffi.wasmtime_extern_t()
        raw = name.encode("ascii")
        found = ffi.wasmtime_instance_export_get(
            self._context,
            ctypes.byref(self._instance._instance),
            ctypes.create_string_buffer(raw),
            len(raw),
            ctypes.byref(item),
        )
        if not found:
            raise CoreFailed(f"the Themis core exports no {name}")
        return wasmtime._extern.wrap_extern(item)

    def _fail(self, error: int | None) -> None:
        """Throws the sandbox away and raises what broke it off: our own exception, or the trap."""
        self.alive = False
        _local.sandbox = None
        trap, self._trap.value = self._trap.value, None
        if trap:
            ffi.wasm_trap_delete(ctypes.cast(trap, ctypes.POINTER(ffi.wasm_trap_t)))
        if error:
            ffi.wasmtime_error_delete(ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t)))
        self._store.close()
        pending, self.pending = self.pending, None
        if pending is not None:
            raise pending
        raise CoreFailed("the Themis core broke off in its sandbox; a new sandbox takes over")


# ----------------------------------------------------------------- what the core asks of the host


def _get_template() -> tuple[wasmtime.Engine, wasmtime.InstancePre, list[object]]:
    """The compiled module with its imports resolved, made once a process."""
    global _template
    with _template_lock:
        if _template is None:
            try:
                _template = _make_template()
            except wasmtime.WasmtimeError as error:
                raise CoreUnavailable(
                    f"wasmtime does not run the embedded Themis core here ({error}): "
                    "install libthemis instead"
                ) from None
        return _template


def _make_template() -> tuple[wasmtime.Engine, wasmtime.InstancePre, list[object]]:
    engine = new_engine()
    module = load_module(engine)
    linker = wasmtime.Linker(engine)
    keep = [_define(linker, *entry) for entry in _HOST_FUNCTIONS]
    linker.define_unknown_imports_as_traps(module)
    return engine, linker.instantiate_pre(module), [linker, *keep]


def _define(
    linker: wasmtime.Linker, module: str, name: str, arity: int, function: Callable[..., int]
) -> object:
    """Defines an import of `arity` i32 and one i32 result, through the unchecked entry."""
    unpack = struct.Struct("<" + "I12x" * arity).unpack_from

    def enter(_env: int, _caller: int, values: int, _count: int) -> int:
        sandbox = _local.sandbox
        try:
            assert sandbox is not None  # noqa: S101  only a running sandbox calls out
            slots = (ctypes.c_char * (_SLOT * max(arity, 1))).from_address(values)
            result = function(sandbox, *unpack(slots))
            ctypes.c_int32.from_address(values).value = result
        except BaseException as error:  # C below us: carried around it, raised again in `_fail`
            if sandbox is not None:
                sandbox.pending = error
            trap = ffi.wasmtime_trap_new(b"host", 4)
            return ctypes.cast(trap, ctypes.c_void_p).value or 0
        return 0

    callback = _HostCallback(enter)
    i32 = wasmtime.ValType.i32()
    function_type = wasmtime.FuncType([i32] * arity, [i32])
    error: Any = ffi.wasmtime_linker_define_func_unchecked(
        linker.ptr(),
        module.encode(),
        len(module),
        name.encode(),
        len(name),
        function_type.ptr(),
        ctypes.cast(callback, ffi.wasmtime_func_unchecked_callback_t),
        None,
        _NO_FINALIZER,
    )
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    return callback


def _getentropy(sandbox: Sandbox, buffer: int, count: int) -> int:
    ctypes.memmove(sandbox.checked_address(buffer, count), os.urandom(count), count)
    return 0


def _time(sandbox: Sandbox, where: int) -> int:
    now = int(time.time())
    if where:
        ctypes.memmove(sandbox.checked_address(where, 4), struct.pack("<I", now), 4)
    return now - (1 << 32) if now >= 1 << 31 else now


def _memcpy_big(sandbox: Sandbox, target: int, source: int, count: int) -> int:
    ctypes.memmove(
        sandbox.checked_address(target, count), sandbox.checked_address(source, count), count
    )
    return target - (1 << 32) if target >= 1 << 31 else target


def _resize_heap(sandbox: Sandbox, count: int) -> int:
    return int(sandbox.grow_to(count))


def _no_environment(sandbox: Sandbox, count_at: int, size_at: int) -> int:
    ctypes.memset(sandbox.checked_address(count_at, 4), 0, 4)
    ctypes.memset(sandbox.checked_address(size_at, 4), 0, 4)
    return 0


def _nothing(_sandbox: Sandbox, *_arguments: int) -> int:
    return 0


def _open(sandbox: Sandbox, path: int, flags: int, _mode: int) -> int:
    """The only file there is: /dev/urandom, for reading."""
    wanted = b"/dev/urandom\0"
    named = ctypes.string_at(sandbox.checked_address(path, len(wanted)), len(wanted))
    return _RANDOM_FD if named == wanted and not flags & _O_ACCMODE else _ENOENT


def _fd_read(sandbox: Sandbox, fd: int, vectors: int, count: int, read_at: int) -> int:
    if fd != _RANDOM_FD or count > 16:
        return _EBADF
    total = 0
    for index in range(count):
        entry = sandbox.checked_address(vectors + 8 * index, 8)
        buffer, size = struct.unpack("<II", ctypes.string_at(entry, 8))
        _getentropy(sandbox, buffer, size)
        total += size
    ctypes.memmove(sandbox.checked_address(read_at, 4), struct.pack("<I", total), 4)
    return 0


_WASI: Final = "wasi_snapshot_preview1"
_HOST_FUNCTIONS: Final[tuple[tuple[str, str, int, Callable[..., int]], ...]] = (
    ("env", "getentropy", 2, _getentropy),
    ("env", "time", 1, _time),
    ("env", "emscripten_memcpy_big", 3, _memcpy_big),
    ("env", "emscripten_resize_heap", 1, _resize_heap),
    ("env", "__syscall_open", 3, _open),
    ("env", "__syscall_fcntl64", 3, _nothing),
    (_WASI, "environ_sizes_get", 2, _no_environment),
    (_WASI, "environ_get", 2, _nothing),
    (_WASI, "fd_read", 4, _fd_read),
)
