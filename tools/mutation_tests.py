"""The tests of `tools/mutation_check.py`: which of them reach a line, and a run of some of them.

Which tests reach which line is measured once, by a run of all of them under coverage. What runs in
other processes is not seen: a line that no test reaches in this one is given all of them.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

if TYPE_CHECKING:
    import pytest

__all__ = ["GREEN", "RED", "ROOT", "TESTS", "Reach", "Trial", "preload", "tests_for"]

ROOT: Final = Path(__file__).resolve().parents[1]
_FEDERATION: Final = {
    "known searching": "known discovery finding forks strangers",
    "roster": "finding hostile peer_links quarantine strangers succession",
    "telling": "force_hostile force_told force_again move move_unwilling",
    "copies following founding skipping hublink": "caps gaps hostile moments strangers",
    "asking errands cache": "asked blame cached home strangers",
    "lanes link linking": "blame caps finding hostile peer_links quarantine",
    "gaps": "gaps leftovers force_stale",
}
"""What of ofcd/daemon/peers must be noticed where in tests/federation; the rest has rows below."""
_COPIES: Final = ("copying", "following", "forwarding", "outbox", "verifying")
TESTS: Final[dict[str, tuple[str, ...]]] = {
    "ofcd/protocol/room.py": ("tests/protocol", "tests/e2e/test_chain.py", "tests/relay"),
    "ofcd/protocol": ("tests/protocol", "tests/themis/test_keys.py"),
    "ofcd/e2e": ("tests/e2e",),
    **{f"ofcd/relay/{name}.py": ("tests/relay/test_following.py",) for name in _COPIES},
    "ofcd/relay/skipping.py": ("tests/relay/test_skipping.py",),
    "ofcd/relay": ("tests/relay",),
    "ofcd/themis/signed.py": ("tests/e2e", "tests/relay"),
    "ofcd/themis": ("tests/themis",),
    "ofcd/channel": ("tests/session", "tests/themis/test_session_hostile.py"),
    "ofcd/session": ("tests/session", "tests/daemon"),
    "ofcd/client": ("tests/client", "tests/world"),
    "ofcd/daemon/peers/discovery.py": ("tests/federation/test_discovery.py",),
    "ofcd/daemon/peers/refilling.py": ("tests/federation/test_refilling.py",),
    "ofcd/daemon/peers/outgoing.py": (
        *("tests/federation/test_outgoing.py", "tests/federation/test_shares.py"),
    ),
    "ofcd/daemon/peers/handshake.py": ("tests/federation/test_handshake.py",),
    **{
        f"ofcd/daemon/peers/{name}.py": tuple(
            f"tests/federation/test_{test}.py" for test in tests.split()
        )
        for names, tests in _FEDERATION.items()
        for name in names.split()
    },
    "ofcd/daemon/peers": ("tests/federation",),
    "ofcd/daemon": ("tests/daemon",),
}
"""The tests that must notice a step, by the first of these that its file's path begins with."""
GREEN, RED = 0, 1
"""Exit codes of pytest."""
MEMORY: Final = 4 * 2**30
"""A mutant that wants more bytes than this is noticed as well."""
_PRELOADED: Final = (
    *("pytest", "hypothesis", "hypothesis.stateful", "trio", "trio.testing"),
    *("attrs", "cattrs", "sqlalchemy", "alembic.command", "structlog", "prometheus_client"),
    *("wasmtime", "wsproto", "h11", "trio_websocket"),
)
_OPTIONS: Final = (
    *("-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # hypothesis is preloaded
)


def tests_for(file: str) -> tuple[str, ...]:
    """The files and folders of tests that must notice a mutant of `file`."""
    return next(tests for source, tests in TESTS.items() if file.startswith(source))


def preload() -> None:
    """Import once what every run needs and no mutant changes."""
    for name in _PRELOADED:
        __import__(name)


# -- one run -------------------------------------------------------------------------------------


@frozen
class Trial:
    """Some tests, to be run on a tree in a fork where all that is slow to import is there."""

    tree: Path
    log: Path
    """Where pytest writes; beside it, in .json, what the run came to."""
    tests: tuple[str, ...]
    """Ids of tests, in the order in which they run; or files and folders, for all in them."""
    measures: bool = False
    """Run under coverage, keep what is compiled."""
    patience: Mapping[str, float] = field(factory=dict)
    """Seconds after which a test is red because it hangs."""

    def start(self) -> int:
        """The process id of the run."""
        pid = os.fork()
        return pid or _leave(self._run)

    @property
    def notes(self) -> dict[str, Any]:
        """What the run wrote down: `red`, the test that failed, and `seconds` of each."""
        file = self.log.with_suffix(".json")
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def _run(self) -> int:
        self._settle_in()
        import pytest

        notes = _Notes(self.tests, self.patience)
        plugins: list[object] = [
            notes,
            *([_Coverage(self.tree, self.log)] if self.measures else []),
        ]
        try:
            return int(pytest.main([*_OPTIONS, *_files_of(self.tests)], plugins))
        finally:  # what a test left behind may break the end of the run
            found = {"red": notes.red, "seconds": notes.seconds}
            self.log.with_suffix(".json").write_text(json.dumps(found))

    def _settle_in(self) -> None:
        """In the fork: its own session and memory, and the tree in the place of the checkout."""
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        self.log.with_suffix(".json").unlink(missing_ok=True)
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(self.tree)
        os.environ["PYTHONPATH"] = str(self.tree)
        others = (path for path in sys.path if Path(path or ".").resolve() != ROOT)
        sys.path[:] = [str(self.tree), *others]
        for name in [name for name in sys.modules if name.partition(".")[0] == "tools"]:
            del sys.modules[name]
        sys.dont_write_bytecode = not self.measures


def _leave(run: Callable[[], int]) -> int:
    status = 70
    try:
        status = run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _files_of(tests: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(test.partition("::")[0] for test in tests))


class _Notes:
    """A pytest plugin: runs the wanted tests in their order, and writes down what they came to."""

    def __init__(self, tests: Sequence[str], patience: Mapping[str, float]) -> None:
        self._patience = patience
        self._order = {test: place for place, test in enumerate(tests) if "::" in test}
        self.red = ""
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._order:
            items[:] = [item for item in items if item.nodeid in self._order]
            items.sort(key=lambda item: self._order[item.nodeid])
        import pytest

        for item in items:
            if item.nodeid in self._patience:
                item.add_marker(pytest.mark.timeout(self._patience[item.nodeid]), append=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.red = report.nodeid


class _Coverage:
    """A pytest plugin: which test reaches which line of the tree."""

    def __init__(self, tree: Path, log: Path) -> None:
        import coverage

        data = log.with_suffix(".coverage")
        self._coverage = coverage.Coverage(
            data_file=data, config_file=False, source=[str(tree)], omit=["*/tests/*"]
        )
        self._coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._coverage.switch_context(nodeid)

    def pytest_unconfigure(self) -> None:
        self._coverage.stop()
        self._coverage.save()


# -- which tests reach a line --------------------------------------------------------------------


@define
class Reach:
    """Which tests reach a line; those that noticed other mutants come first, then quick ones."""

    seconds: dict[str, float] = field(factory=dict)
    """How long each test takes."""
    lines: dict[str, dict[int, list[str]]] = field(factory=dict)
    """Tests by line by source."""
    reds: dict[str, Counter[str]] = field(factory=dict)
    """How many mutants of a source each test has noticed."""

    def measure(self, trial: Trial, files: Iterable[str]) -> bool:
        """Run all the tests; whether they are green."""
        status = os.waitstatus_to_exitcode(os.waitpid(trial.start(), 0)[1])
        if status != GREEN:
            return False
        self.seconds.update(trial.notes["seconds"])
        import coverage

        data = coverage.CoverageData(str(trial.log.with_suffix(".coverage")))
        data.read()
        for file in files:
            self.lines[file] = data.contexts_by_lineno(str(trial.tree / file))
        return True

    def tests(self, file: str, lines: Iterable[int]) -> tuple[str, ...]:
        """The tests to be run for a mutant of these lines, the likeliest to notice it first."""
        wanted, known = tests_for(file), self.lines.get(file, {})
        all_reached = {test for line in lines for test in known.get(line, ())}
        reached = [test for test in all_reached if test.startswith(wanted)]
        reds, paces = self.reds.get(file, Counter()), self._paces()

        def place(test: str) -> tuple[float, float, str, float, str]:
            """Of those that noticed nothing, quick files first: in one piece, with its fixtures."""
            own = test.partition("::")[0]
            return -reds[test], paces.get(own, 0.0), own, self.seconds.get(test, 0.0), test

        return tuple(sorted(reached, key=place)) or wanted

    def _paces(self) -> dict[str, float]:
        """Seconds that a test of each file takes in the mean."""
        times: defaultdict[str, list[float]] = defaultdict(list)
        for test, seconds in self.seconds.items():
            times[test.partition("::")[0]].append(seconds)
        return {file: sum(taken) / len(taken) for file, taken in times.items()}

    def noticed(self, file: str, test: str) -> None:
        """A test was red for a mutant of this file."""
        self.reds.setdefault(file, Counter())[test] += 1

    def patience(self, tests: Iterable[str]) -> dict[str, float]:
        """Seconds after which each of these tests hangs."""
        return {test: 10 + 4 * self.seconds[test] for test in tests if test in self.seconds}

    def limit(self, tests: Sequence[str]) -> float:
        """Seconds after which a run of these tests hangs."""
        return 60 + 5 * sum(self.seconds.get(test, 1.0) for test in tests)
