"""Remove each check in turn: some test must go red (docs: protocol, Testing; issue 2, point g).

A *step* is one thing that relay or client verifies before it goes on:

    if A or B: raise ...        two steps, each by itself; so are the parts of `not (A and B)`
    check_something(...)        a call made only for what it raises
    signed = open_signed(k, e)  becomes: read without verifying
    return ((key, envelope),)   the signatures that a relay's check asks for: becomes none
    return A and B              in a function that only answers a question (is_…, may_…)

Each mutant is the checked-out tree with one step removed, in a copy: the checkout is never touched.
A mutant survives if the tests named for its file stay green. Survivors are errors, unless
tools/mutation_allowed.toml says why the step can not be missed.

    make mutation                                  all of it, about ten minutes on two cores
    make mutation ARGS="ofcd/relay -k counter"     those of some files, with a word in the step
    make mutation ARGS="--list"                    what would be removed
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import define, frozen

ROOT: Final = Path(__file__).resolve().parents[1]
ALLOWED: Final = ROOT / "tools" / "mutation_allowed.toml"
SOURCES: Final = ("ofcd/relay", "ofcd/e2e", "ofcd/protocol/room.py", "ofcd/channel", "ofcd/session")
_RELAY: Final = tuple(
    f"tests/relay/test_{name}.py"
    for name in (
        "posting",
        "attach",
        "joining",
        "history",
        "memory",
        "checks",
        "control",
        "hostile",
    )
)
_E2E: Final = tuple(
    f"tests/e2e/test_{name}.py"
    for name in (
        *("events", "log", "chain", "epochs", "joining", "invites", "boxes", "bodies"),
        *("attachments", "names", "signals", "trust", "vectors"),
    )
)
TESTS: Final[dict[str, tuple[str, ...]]] = {
    "ofcd/relay": _RELAY,
    "ofcd/e2e": _E2E,
    "ofcd/protocol/room.py": (
        "tests/protocol/test_room.py",
        "tests/protocol/test_room_checks.py",
        "tests/e2e/test_chain.py",
        *_RELAY,
    ),
    "ofcd/channel": ("tests/session", "tests/themis/test_session_hostile.py"),
    "ofcd/session": ("tests/session", "tests/daemon"),
}
"""Per source, what is run until something is red: the likeliest first."""
SECONDS: Final = 180
MEMORY: Final = 4 * 2**30
"""A mutant that hangs for this long, or wants this much, is noticed as well."""
GREEN, RED = 0, 1
"""Exit codes of pytest."""
_CHECKS: Final = ("check", "require", "verify", "open_signed", "reject")
_ANSWERS: Final = ("is_", "may_", "has_", "can_", "fits", "within", "matches", "accepts", "agrees")
_PRELOADED: Final = (
    *("pytest", "hypothesis", "hypothesis.stateful", "trio", "trio.testing"),
    *("attrs", "cattrs", "sqlalchemy", "alembic.command", "structlog", "prometheus_client"),
    *("wasmtime", "wsproto", "h11", "trio_websocket"),
)


# -- what can be removed ---------------------------------------------------------------------------


@frozen
class Step:
    """One step of one function; `index` counts equal ones."""

    file: str
    function: str
    text: str
    index: int = 0

    def __str__(self) -> str:
        again = f" ({self.index + 1})" if self.index else ""
        return f"{self.file}: {self.function}: {self.text}{again}"


@frozen
class Mutant:
    """A step, and its number among those of its file."""

    step: Step
    number: int


Change = Callable[[], None]


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Every mutant of one file."""
    made: list[Mutant] = []
    seen: dict[tuple[str, str], int] = {}
    for number, (function, text, _) in enumerate(_removals(ast.parse(source))):
        index = seen.get((function, text), 0)
        seen[function, text] = index + 1
        made.append(Mutant(Step(file, function, text, index), number))
    return made


def without(source: str, number: int) -> str:
    """The source without its step of this number."""
    tree = ast.parse(source)
    _, _, remove = list(_removals(tree))[number]
    remove()
    return ast.unparse(ast.fix_missing_locations(tree))


def _removals(tree: ast.Module) -> Iterator[tuple[str, str, Change]]:
    """Function, step and its removal, for every step of a module."""
    for name, function in _functions(tree, ""):
        for node in ast.walk(function):
            if node is not function and isinstance(node, ast.FunctionDef):
                continue
            for text, remove in _steps(function, node):
                yield name, text, remove


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield f"{prefix}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _steps(function: ast.FunctionDef, node: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.If() if _only_raises(node.body):
            yield from _without_each(node, "test", doubts=True)
        case ast.Expr(value=ast.Call() as call) if _is_check(call):
            yield from _call_steps(node, call)
        case ast.Assign(value=ast.Call() as call) if _called(call) == "open_signed":
            yield ast.unparse(node), lambda: _read_unverified(call)
        case ast.Return(value=ast.expr() as value) if _asks_for_signatures(function, value):
            yield ast.unparse(node), lambda: setattr(node, "value", ast.Tuple([], ast.Load()))
        case ast.Return(value=ast.BoolOp() | ast.Compare()) if _answers(function):
            yield from _without_each(node, "value", doubts=False)


def _only_raises(body: Sequence[ast.stmt]) -> bool:
    return all(isinstance(statement, ast.Raise) for statement in body)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _is_check(call: ast.Call) -> bool:
    return _called(call).lstrip("_").startswith(_CHECKS)


def _answers(function: ast.FunctionDef) -> bool:
    return function.name.lstrip("_").startswith(_ANSWERS)


def _asks_for_signatures(function: ast.FunctionDef, value: ast.expr) -> bool:
    wanted = function.returns is not None and ast.unparse(function.returns) == "Signatures"
    return wanted and ast.unparse(value) != "()"


def _call_steps(node: ast.Expr, call: ast.Call) -> Iterator[tuple[str, Change]]:
    """A check's call; of `_require(A and B)` A and B each by itself."""
    parts = list(_parts(call.args[0], doubts=False)) if call.args else []
    for text, drop in parts:
        yield f"{ast.unparse(call.func)}: {text}", drop
    if not parts:
        yield ast.unparse(node), lambda: setattr(node, "value", ast.Constant(None))


def _read_unverified(call: ast.Call) -> None:
    """`open_signed(key, envelope)` becomes `peek(envelope)`."""
    call.func = ast.parse("__import__('ofcd.themis.signed').themis.signed.peek", mode="eval").body
    del call.args[0]


def _without_each(node: ast.AST, name: str, *, doubts: bool) -> Iterator[tuple[str, Change]]:
    """The condition without each of its parts.

    `doubts`: it is true where something is wrong, so its parts are joined by `or`; else it is true
    where all is right, and they are joined by `and`.
    """
    whole = getattr(node, name)
    parts = list(_parts(whole, doubts=doubts))
    yield from parts
    if not parts:
        yield ast.unparse(whole), lambda: setattr(node, name, ast.Constant(not doubts))


def _parts(test: ast.expr, *, doubts: bool) -> Iterator[tuple[str, Change]]:
    match test:
        case ast.BoolOp(op=ast.Or()) if doubts:
            yield from _operands(test)
        case ast.BoolOp(op=ast.And()) if not doubts:
            yield from _operands(test)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            yield from _parts(inner, doubts=not doubts)
        case ast.Compare() if len(test.ops) > 1 and not doubts:
            for index in range(len(test.ops)):
                yield _half(test, index)


def _operands(test: ast.BoolOp) -> Iterator[tuple[str, Change]]:
    """Each operand; one that has parts itself, by its parts."""
    for index, value in enumerate(test.values):
        inner = list(_parts(value, doubts=isinstance(test.op, ast.Or)))
        if inner:
            yield from inner
        else:
            yield ast.unparse(value), _dropper(test, index)


def _dropper(test: ast.BoolOp, index: int) -> Change:
    neutral = isinstance(test.op, ast.And)

    def drop() -> None:
        test.values[index] = ast.Constant(neutral)

    return drop


def _half(test: ast.Compare, index: int) -> tuple[str, Change]:
    """One comparison of `a < b < c`: removed, the others stay."""
    terms = [test.left, *test.comparators]
    text = ast.unparse(ast.Compare(terms[index], [test.ops[index]], [terms[index + 1]]))
    kept = [n for n in range(len(test.ops)) if n != index]

    def drop() -> None:
        [only] = kept
        left, op, right = terms[only], test.ops[only], terms[only + 1]
        test.left, test.ops, test.comparators = copy.copy(left), [op], [right]

    return text, drop


def find_mutants(root: Path, sources: Iterable[str] = SOURCES, word: str = "") -> list[Mutant]:
    """Every mutant of these files and folders whose step holds `word`."""
    found: list[Mutant] = []
    for source in sources:
        path = root / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found += mutants_of(str(file.relative_to(root)), file.read_text())
    return [mutant for mutant in found if word in str(mutant.step)]


def tests_for(file: str) -> tuple[str, ...]:
    """The tests that must notice a mutant of `file`; those of its own name first."""
    [tests] = [tests for source, tests in TESTS.items() if file.startswith(source)]
    name = f"test_{Path(file).stem}.py"
    return tuple(sorted(tests, key=lambda test: not test.endswith(name)))


# -- running ---------------------------------------------------------------------------------------


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
        path.write_text(without(self.original.decode(), mutant.number))

    def restore(self) -> None:
        """Undo `mutate`: with the times, for what is compiled is found by them."""
        path = self.root / self.file
        path.write_bytes(self.original)
        os.utime(path, ns=self.times)


def make_copy(source: Path, target: Path) -> Copy:
    """Copy what the tests need, compiled files and their times included."""
    unwanted = shutil.ignore_patterns(".venv", ".git", "node_modules", ".*_cache", "var", "dist")
    shutil.copytree(source, target, ignore=unwanted)
    return Copy(target)


def start_tests(tree: Path, tests: Sequence[str], log: Path, *, compiles: bool = False) -> int:
    """Run pytest on the tree in a fork, where all that is slow to import is there already."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        status = _run_tests(tree, tests, log, compiles=compiles)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run_tests(tree: Path, tests: Sequence[str], log: Path, *, compiles: bool) -> int:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path[:] = [str(tree), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
    sys.dont_write_bytecode = not compiles
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is preloaded
    return int(pytest.main([*options, *tests]))


def preload() -> None:
    """Import once what every run needs and no mutant changes."""
    for name in _PRELOADED:
        __import__(name)


@define
class Run:
    """A mutant under test."""

    copy: Copy
    mutant: Mutant
    started: float


def run_all(mutants: Sequence[Mutant], copies: Sequence[Copy], logs: Path) -> Iterator[Result]:
    """Test each mutant, as many at once as there are copies."""
    waiting, free, running = list(mutants)[::-1], list(copies), dict[int, Run]()
    while waiting or running:
        while waiting and free:
            made, mutant = free.pop(), waiting.pop()
            made.mutate(mutant)
            log = logs / f"{made.root.name}.log"
            pid = start_tests(made.root, tests_for(mutant.step.file), log)
            running[pid] = Run(made, mutant, time.monotonic())
        pid, status = _wait(running)
        run = running.pop(pid)
        if status not in (GREEN, RED, -signal.SIGABRT, -signal.SIGSEGV):
            raise SystemExit(f"pytest ended with {status} for {run.mutant.step}, not with a test")
        run.copy.restore()
        free.append(run.copy)
        yield Result(run.mutant.step, status, time.monotonic() - run.started)


@frozen
class Result:
    """What became of a mutant; `status` is pytest's exit code, or RED for one that was too slow."""

    step: Step
    status: int
    seconds: float

    @property
    def survived(self) -> bool:
        """Every test stayed green."""
        return self.status == GREEN


def _wait(running: dict[int, Run]) -> tuple[int, int]:
    """The next run that ends; one that takes too long is ended."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            return pid, os.waitstatus_to_exitcode(status)
        for late, run in running.items():
            if time.monotonic() - run.started > SECONDS:
                os.killpg(late, signal.SIGKILL)
                os.waitpid(late, 0)
                return late, RED
        time.sleep(0.01)


def passes(tree: Path, files: Iterable[str], logs: Path) -> bool:
    """Whether all tests are green before anything is removed; compiles what it imports."""
    tests = sorted({test for file in files for test in tests_for(file)})
    pid = start_tests(tree, tests, logs / "baseline", compiles=True)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == GREEN


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


# -- the command -----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if no mutant survives without an explanation."""
    options = _parser().parse_args(arguments)
    mutants = find_mutants(ROOT, options.sources or SOURCES, options.word)
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
    parser.add_argument("-k", dest="word", default="", help="only steps that hold this")
    parser.add_argument("-j", dest="jobs", type=int, default=os.cpu_count() or 1, help="at once")
    parser.add_argument("--list", action="store_true", help="name the steps, and do nothing")
    parser.add_argument("-v", dest="verbose", action="store_true", help="name each as it ends")
    return parser


_Raw = argparse.RawDescriptionHelpFormatter


def _check(mutants: Sequence[Mutant], folder: Path, options: argparse.Namespace) -> int:
    preload()
    first = make_copy(ROOT, folder / "copy0")
    if not passes(first.root, {mutant.step.file for mutant in mutants}, folder):
        print((folder / "baseline").read_text()[-4000:])
        print("the tests are red before anything was removed: mend them first")
        return 2
    copies = [first]
    copies += [make_copy(first.root, folder / f"copy{n}") for n in range(1, options.jobs)]
    explained, survivors, began = allowed(), list[Step](), time.monotonic()
    for number, result in enumerate(run_all(mutants, copies, folder), start=1):
        if result.survived and result.step not in explained:
            survivors.append(result.step)
            print(f"\rSURVIVED {result.step}", flush=True)
        elif options.verbose:
            print(
                f"{'explained' if result.survived else 'red'} {result.seconds:.1f} s {result.step}"
            )
        if sys.stdout.isatty():
            print(f"\r{number}/{len(mutants)} ", end="", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{len(mutants)} steps removed in turn, {len(survivors)} unnoticed, {minutes:.1f} min")
    stale = [] if options.sources or options.word else outdated(explained, mutants)
    for step in stale:
        print(f"explained, but not there any more: {step}")
    return 1 if survivors or stale else 0


if __name__ == "__main__":
    sys.exit(main())
