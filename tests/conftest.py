"""What every test run shares: hypothesis profiles, and a header that says which core ran.

Laws of this suite: no real sleep (trio's `autojump_clock` moves time), no network but localhost
with port 0, random order, every warning an error, a limit of 60 seconds a test.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from ofcd.errors import OfcError

# CI and everybody else see the same examples, and a failure prints what repeats it. Deadlines
# measure the machine, not the code. `HYPOTHESIS_PROFILE=deep` looks further, and at random.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=2_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


# What is made while modules are imported and tests collected stays: to look through it all, again
# and again, for what does not, is a third of collecting and a twelfth of many tests.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """From here on the collector looks at what tests make, and at nothing older."""
    gc.freeze()
    gc.enable()


def pytest_report_header() -> list[str]:
    """Name the Themis core under test: a green run of one core says nothing of the other."""
    try:
        core = importlib.import_module("ofcd.themis").core_info()
    except (ImportError, OfcError) as failed:
        return [f"themis core: none ({failed})"]
    return [f"themis core: {core.kind} {core.version}"]


@pytest.fixture(autouse=True, scope="session")
def _heed_interrupts() -> Iterator[None]:
    """Let the processes under test hear SIGINT, whoever started the run.

    A shell starts background commands with SIGINT ignored; that is inherited, and what we start
    leaves it so (`ofc` means to), so that no test could press Ctrl-C.
    """
    found = signal.getsignal(signal.SIGINT)
    if found is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    if found is signal.SIG_IGN:
        signal.signal(signal.SIGINT, found)
