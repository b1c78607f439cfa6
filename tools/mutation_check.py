"""Remove each check in turn: some test must go red (docs: protocol, Testing; issue 2, point g).

What counts as a step is said in `tools/mutation_steps.py`. Each mutant is the checked-out tree
with one step removed, in a copy: the checkout is never touched. A mutant survives if the tests
that reach its line stay green. Survivors are errors, unless tools/mutation_allowed.toml says why
nobody could notice.

    make mutation                                  all of it
    make mutation ARGS="ofcd/relay -k counter"     those of some files, with a word in the step
    make mutation ARGS="--list"                    what would be removed
    make mutation ARGS="--resume"                  go on where a run of the same tree stopped
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import asdict, define, field, frozen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.mutation_steps import Mutant, Step, mutants_of, without
from tools.mutation_tests import GREEN, RED, ROOT, Reach, Trial, preload, tests_for

ALLOWED: Final = ROOT / "tools" / "mutation_allowed.toml"
SOURCES: Final = (
    *("ofcd/protocol/room.py", "ofcd/e2e", "ofcd/themis/signed.py", "ofcd/relay"),
    "ofcd/themis/lineage.py",
    *("ofcd/client/ledger.py", "ofcd/client/folding.py", "ofcd/session", "ofcd/channel"),
    "ofcd/daemon/peers",
)
"""What is mutated if nothing is named: what carries out the checks of protocol.md §2.3."""
_NO_IMPORT: Final = 2
"""How pytest ends when a module can not be imported."""
_NOTICED: Final = (RED, _NO_IMPORT, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGKILL)
_UNWANTED: Final = (".venv", ".git", "node_modules", ".*_cache", "var", "dist")
_WEB: Final = Path("web", "node_modules")


def find_mutants(
    root: Path, sources: Iterable[str] = SOURCES, words: Sequence[str] = ("",)
) -> list[Mutant]:
    """Every mutant of these files and folders whose step holds one of `words`, each once."""
    files: dict[Path, None] = {}
    for source in sources:
        path = root / source
        files |= dict.fromkeys(sorted(path.rglob("*.py")) if path.is_dir() else [path])
    found = [
        mutant
        for file in files
        for mutant in mutants_of(str(file.relative_to(root)), file.read_text())
    ]
    return [mutant for mutant in found if any(word in str(mutant.step) for word in words)]


# -- running -------------------------------------------------------------------------------------


@define
class Copy:
    """A copy of the tree, in which one mutant at a time is tested."""

    root: Path
    file: str = ""
    original: bytes = b""
    times: tuple[int, int] = (0, 0)

    def mutate(self, mutant: Mutant) -> None:
        """Write the mutant in the place of its file."""
        path = self.root / mutant.step.file
        stat = path.stat()
        self.file, self.original = mutant.step.file, path.read_bytes()
        self.times = (stat.st_atime_ns, stat.st_mtime_ns)
        path.write_text(without(self.original.decode(), mutant))

    def restore(self) -> None:
        """Undo `mutate`: with the times, for what is compiled is found by them."""
        path = self.root / self.file
        path.write_bytes(self.original)
        os.utime(path, ns=self.times)


def make_copy(source: Path, target: Path) -> Copy:
    """Copy what the tests need, compiled files and their times included."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_UNWANTED))
    if (source / _WEB).exists():
        (target / _WEB).symlink_to((source / _WEB).resolve())
    return Copy(target)


@frozen
class Result:
    """What became of a mutant: by which test it was noticed; "" if by none."""

    step: Step
    status: int
    seconds: float
    red: str = ""

    @property
    def survived(self) -> bool:
        """Every test stayed green."""
        return self.status == GREEN


@frozen
class Run:
    """A mutant under test."""

    copy: Copy
    mutant: Mutant
    trial: Trial
    began: float
    """On the monotonic clock, seconds."""
    limit: float
    """Seconds after which it hangs."""

    def result(self, status: int) -> Result:
        """Raises `SystemExit` if the run ended, but not with a test."""
        red = self.trial.notes.get("red", "")
        if not red and status not in (GREEN, *_NOTICED):
            said = self.trial.log.read_text(errors="replace")[-4000:]
            raise SystemExit(f"{said}\npytest ended with {status} for {self.mutant.step}")
        seconds = time.monotonic() - self.began
        return Result(self.mutant.step, RED if red else status, seconds, red)


def run_all(
    mutants: Sequence[Mutant], copies: Sequence[Copy], logs: Path, reach: Reach
) -> Iterator[Result]:
    """Test each mutant, as many at once as there are copies."""
    waiting, free, running = list(mutants)[::-1], list(copies), dict[int, Run]()
    try:
        while waiting or running:
            while waiting and free:
                run = _prepared(free.pop(), waiting.pop(), logs, reach)
                running[run.trial.start()] = run
            pid, status = _wait(running)
            run = running.pop(pid)
            result = run.result(status)
            run.copy.restore()
            free.append(run.copy)
            if result.red:
                reach.noticed(result.step.file, result.red)
            yield result
    finally:
        for pid in running:
            _end(pid)


def _prepared(made: Copy, mutant: Mutant, logs: Path, reach: Reach) -> Run:
    tests = reach.tests(mutant.step.file, mutant.lines)
    made.mutate(mutant)
    log, patience = logs / f"{made.root.name}.log", reach.patience(tests)
    trial = Trial(made.root, log, tests, patience=patience)
    return Run(made, mutant, trial, time.monotonic(), reach.limit(tests))


def _wait(running: dict[int, Run]) -> tuple[int, int]:
    """The next run that ends; one that hangs is ended, and was noticed."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            return pid, os.waitstatus_to_exitcode(status)
        for late, run in running.items():
            if time.monotonic() - run.began > run.limit:
                _end(late)
                return late, -signal.SIGKILL
        time.sleep(0.01)


def _end(pid: int) -> None:
    """End a run, and the processes that its tests started."""
    with contextlib.suppress(ProcessLookupError):  # it may not lead its group yet
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# -- the allow-list --------------------------------------------------------------------------------


def allowed() -> dict[Step, str]:
    """Steps that may survive, and why."""
    entries = tomllib.loads(ALLOWED.read_text()).get("step", [])
    return {
        Step(e["file"], e["function"], e["text"], e.get("index", 0)): str(e["why"]) for e in entries
    }


def outdated(explained: Iterable[Step], mutants: Iterable[Mutant]) -> list[Step]:
    """Explanations of steps that are not there any more."""
    there = {mutant.step for mutant in mutants}
    return [step for step in explained if step not in there]


# -- what was done before --------------------------------------------------------------------------


@frozen
class Diary:
    """The results of a run, by which another one of the same tree goes on."""

    path: Path
    tree: str
    """The tree's fingerprint."""

    def read(self) -> dict[Step, Result]:
        """The results so far; none if they are another tree's."""
        if not self._is_of_this_tree():
            return {}
        entries = map(json.loads, self.path.read_text().splitlines()[1:])
        found = [Result(Step(**entry.pop("step")), **entry) for entry in entries]
        return {result.step: result for result in found}

    def begin(self) -> None:
        """Forget what was written of another tree."""
        if not self._is_of_this_tree():
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(self.tree + "\n")

    def _is_of_this_tree(self) -> bool:
        if not self.path.exists():
            return False
        with self.path.open() as file:
            return file.readline().strip() == self.tree

    def write(self, result: Result) -> None:
        """Add a result."""
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def fingerprint(root: Path) -> str:
    """Of all that a result depends on: sources and tests."""
    digest = hashlib.sha256()
    for folder in ("ofcd", "tests", "tools"):
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


# -- the command -----------------------------------------------------------------------------------


@define
class Tally:
    """What is said while the mutants are tested, and in the end."""

    total: int
    explained: dict[Step, str]
    verbose: bool
    count: int = 0
    noticed: int = 0
    hung: int = 0
    excused: int = 0
    survivors: list[Step] = field(factory=list)
    began: float = field(factory=time.monotonic)

    def take(self, result: Result) -> None:
        """Count a result; say it if it is a survivor, or all is to be said."""
        self.count += 1
        self.noticed += not result.survived
        self.hung += result.status == -signal.SIGKILL
        said = "explained" if result.survived else f"red {result.red}"
        if not result.survived and result.step in self.explained:
            said = f"EXPLAINED, BUT NOTICED {result.red}"
        if result.survived and result.step in self.explained:
            self.excused += 1
        elif result.survived:
            self.survivors.append(result.step)
            said = "SURVIVED"
        if self.verbose or said[:9] in ("SURVIVED", "EXPLAINED"):
            print(
                f"\r{self.count}/{self.total} {result.seconds:.1f} s {said}: {result.step}",
                flush=True,
            )
        elif sys.stdout.isatty():
            print(f"\r{self.count}/{self.total} ", end="", flush=True)

    def summary(self) -> str:
        """One line."""
        minutes = (time.monotonic() - self.began) / 60
        return (
            f"{self.count} steps removed in turn in {minutes:.1f} min: {self.noticed} noticed "
            f"({self.hung} of them hung), {self.excused} explained, {len(self.survivors)} unnoticed"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if no mutant survives without an explanation."""
    options = _parser().parse_args(arguments)
    mutants = find_mutants(ROOT, options.sources or SOURCES, options.words or ("",))
    if options.list:
        for mutant in mutants:
            print(mutant.step)
        print(f"{len(mutants)} steps")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        return _check(mutants, Path(folder), options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("sources", nargs="*", metavar="FILE", help="files or folders; all if none")
    parser.add_argument("-k", dest="words", action="append", help="only steps that hold this")
    parser.add_argument("-j", dest="jobs", type=int, default=os.cpu_count() or 1, help="at once")
    parser.add_argument("--list", action="store_true", help="name the steps, and do nothing")
    parser.add_argument("--resume", action="store_true", help="keep the results of the last run")
    parser.add_argument("--explained", action="store_true", help="also those explained")
    parser.add_argument("-v", dest="verbose", action="store_true", help="name each as it ends")
    return parser


_Raw = argparse.RawDescriptionHelpFormatter


def _check(mutants: Sequence[Mutant], folder: Path, options: argparse.Namespace) -> int:
    preload()
    diary = Diary(ROOT / "var" / "mutation.jsonl", fingerprint(ROOT))
    known = diary.read() if options.resume else {}
    diary.begin()
    tally = Tally(len(mutants), allowed(), options.verbose)
    for mutant in mutants:
        if mutant.step in known:
            tally.take(known[mutant.step])
    passed_over = set() if options.explained else tally.explained.keys() - known.keys()
    waiting = [m for m in mutants if m.step not in known and m.step not in passed_over]
    first, reach = make_copy(ROOT, folder / "copy0"), Reach()
    if waiting and not _measure(reach, first, waiting, folder):
        return 2
    copies = [make_copy(first.root, folder / f"copy{n}") for n in range(1, options.jobs)]
    for result in run_all(waiting, [first, *copies], folder, reach):
        diary.write(result)
        tally.take(result)
    print(tally.summary())
    print(f"{sum(m.step in passed_over for m in mutants)} explained ones passed over")
    stale = [] if options.sources or options.words else outdated(tally.explained, mutants)
    for step in stale:
        print(f"explained, but not there any more: {step}")
    return 1 if tally.survivors or stale else 0


def _measure(reach: Reach, made: Copy, mutants: Iterable[Mutant], folder: Path) -> bool:
    """Run all tests, with nothing removed; False, and says so, if they are red."""
    files = {mutant.step.file for mutant in mutants}
    tests = tuple(sorted({test for file in files for test in tests_for(file)}))
    trial = Trial(made.root, folder / "baseline.log", tests, measures=True)
    if reach.measure(trial, files):
        return True
    print(trial.log.read_text()[-4000:])
    print("the tests are red before anything was removed: mend them first")
    return False


if __name__ == "__main__":
    sys.exit(main())
