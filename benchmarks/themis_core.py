"""Microseconds an operation on each Themis core there is: `python -m benchmarks.themis_core`.

Each core runs in a process of its own, one after the other in one run. For the embedded core,
`bare` is the same exported function called in a loop with prepared arguments, so `ratio` is what
getting in and out of the sandbox, pythemis and the checks of ofcd/themis cost on top.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import timeit
from collections.abc import Callable

SMALL, LARGE = bytes(200), bytes(4096)
KEY, CONTEXT = bytes(range(32)), bytes(32)
QUICK = "--quick" in sys.argv
ROUNDS = 2 if QUICK else 5
SECONDS_A_ROUND = 0.01 if QUICK else 0.2

Times = dict[str, float]


def microseconds(operation: Callable[[], object]) -> float:
    """The best of some rounds: noise only ever adds."""
    operation()
    once = timeit.timeit(operation, number=20) / 20
    number = max(20, int(SECONDS_A_ROUND / once))
    return min(timeit.repeat(operation, number=number, repeat=ROUNDS)) / number * 1e6


def measure() -> dict[str, Times]:
    """Times through ofcd.themis, and bare ones where the core is embedded."""
    from ofcd import themis

    alice, bob = themis.generate_keypair(), themis.generate_keypair()
    client = themis.SecureSession(alice.public, alice.private, lambda peer: peer)
    server = themis.SecureSession(bob.public, bob.private, lambda peer: peer)
    message: bytes | None = client.connect_request()
    for end in (server, client, server, client):
        message = end.handshake(message or b"")
    sealed, signed = themis.seal(KEY, SMALL, CONTEXT), themis.sign(alice.private, SMALL)
    wrapped = client.wrap(SMALL)
    boxed = themis.box(alice.private, bob.public, SMALL)
    operations: dict[str, Callable[[], object]] = {
        "wrap 200 B": lambda: client.wrap(SMALL),
        "wrap 4 kB": lambda: client.wrap(LARGE),
        "unwrap 200 B": lambda: server.unwrap(wrapped),
        "seal 200 B": lambda: themis.seal(KEY, SMALL, CONTEXT),
        "unseal 200 B": lambda: themis.unseal(KEY, sealed, CONTEXT),
        "sign 200 B": lambda: themis.sign(alice.private, SMALL),
        "verify 200 B": lambda: themis.verify(alice.public, signed),
        "box 200 B": lambda: themis.box(alice.private, bob.public, SMALL),
        "unbox 200 B": lambda: themis.unbox(bob.private, alice.public, boxed),
        "check key": lambda: themis.check_public_key(alice.public),
        "key pair": themis.generate_keypair,
    }
    calls = bare_calls(client, alice, sealed, signed) if is_embedded() else {}
    found: dict[str, Times] = {"through": {}, "bare": {}}
    for name, operation in operations.items():
        found["through"][name] = microseconds(operation)
        if name in calls:
            found["bare"][name] = microseconds(calls[name])
    return found


def is_embedded() -> bool:
    """Whether this process runs on the sandboxed core."""
    from ofcd import themis

    return themis.core_info().kind == "embedded"


def bare_calls(
    client: object, alice: object, sealed: bytes, signed: bytes
) -> dict[str, Callable[[], int]]:
    """The functions behind the operations, their arguments laid out in the sandbox once."""
    session = client._core.session_ctx.address  # type: ignore[attr-defined]
    private, public = alice.private, alice.public  # type: ignore[attr-defined]
    return {
        "wrap 200 B": prepared("secure_session_wrap", session, SMALL),
        "wrap 4 kB": prepared("secure_session_wrap", session, LARGE),
        "seal 200 B": prepared("themis_secure_cell_encrypt_seal", KEY, CONTEXT, SMALL),
        "unseal 200 B": prepared("themis_secure_cell_decrypt_seal", KEY, CONTEXT, sealed),
        "sign 200 B": prepared("themis_secure_message_sign", private, SMALL),
        "verify 200 B": prepared("themis_secure_message_verify", public, signed),
    }


def prepared(name: str, *inputs: int | bytes) -> Callable[[], int]:
    """A call with its inputs and an output of 8 kB in place; only the output's size is reset."""
    import ctypes

    from ofcd.themis._sandbox import current_sandbox

    sandbox = current_sandbox()
    words: list[int] = []
    with sandbox.entered():
        for value in inputs:
            if isinstance(value, int):
                words.append(value)
                continue
            address = sandbox.allocate(len(value))
            ctypes.memmove(sandbox.base + address, value, len(value))
            words += (address, len(value))
        words += (sandbox.allocate(8192), sandbox.allocate(4))
    size = ctypes.c_uint32.from_address(sandbox.base + words[-1])

    def call() -> int:
        size.value = 8192
        return sandbox.call(name, *words)

    assert call() == 0
    return call


def run_on(core: str) -> dict[str, Times] | None:
    """The measurements of one core, in its own process; None when it is not installed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.themis_core", "--measure", *(["--quick"] * QUICK)],
        env={**os.environ, "OFCD_THEMIS": core},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        print(f"{core}: not measured: {reason.partition(': ')[2] or reason}")
        return None
    result: dict[str, Times] = json.loads(done.stdout)
    return result


def main() -> None:
    """Prints the table."""
    if "--measure" in sys.argv:
        print(json.dumps(measure()))
        return
    native, embedded = run_on("native"), run_on("embedded")
    print(f"{'us an operation':16}{'native':>10}{'embedded':>10}{'bare wasm':>10}{'ratio':>8}")
    for name in (native or embedded or {"through": {}})["through"]:
        ours = embedded and embedded["through"][name]
        bare = embedded and embedded["bare"].get(name)
        cells = [native and native["through"][name], ours, bare]
        row = "".join(f"{cell:10.1f}" if cell else f"{'-':>10}" for cell in cells)
        ratio = f"{ours / bare:8.2f}" if ours and bare else f"{'-':>8}"
        print(f"{name:16}{row}{ratio}")


if __name__ == "__main__":
    main()
