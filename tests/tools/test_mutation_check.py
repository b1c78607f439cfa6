"""The mutation check itself: what it removes, and that it notices what no test notices."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from attrs import evolve

from tools import mutation_check, mutation_tests
from tools.mutation_check import Diary, Result, find_mutants, outdated
from tools.mutation_steps import GUARDED, Mutant, Step, mutants_of, without
from tools.mutation_tests import GREEN, RED, ROOT, Reach, Trial

SOURCE = """
def check(a, b):
    if a < 0 or b < 0:
        raise ValueError
    if not (a and b):
        raise ValueError
    if a > b:
        raise ValueError
    check_more(a)
    _require(a and b)
    signed = open_signed(a, b)
    if a:
        return signed
    return None

def is_right(a, b) -> bool:
    return a == 1 and 0 < b < 3

def is_more(a, b):
    return a > b

async def later(a, key):
    if a > 1:
        a = 1
        raise ValueError
    accept = open_signed(key, a).record
    return [x for x in a if x > 3 and accept]

def check_post(request) -> Signatures:
    return request.signed_by(1)

def tell(self, frame):
    self.push_to_members(lambda m: m.may_admit and m.mid in self.listed, frame)

TABLE = {1: Command(check_post, run_post, record=Event, allowed=_may_post)}

def is_not_a_check(a):
    if a:
        log(a)
        return None
    return a
"""
GUARDS = """
def take(self, a, b):
    if a is None or b.stale:
        return
    if a.mine and b.mine:
        self.keep(a)
    if a.old or b.old:
        return self.again(a)
    if a.new:
        self.keep(b)
    else:
        self.drop(b)
"""


def test_every_step_is_removed_by_itself() -> None:
    """Each operand, call, verification and answer is one mutant; other code is none."""
    steps = [(m.step.function, m.step.text) for m in mutants_of("x.py", SOURCE)]
    assert sorted(steps) == sorted(
        [
            ("check", "a < 0"),
            ("check", "b < 0"),
            ("check", "a"),
            ("check", "b"),
            ("check", "a > b"),
            ("check", "check_more(a)"),
            ("check", "_require: a"),
            ("check", "_require: b"),
            ("check", "open_signed(a, b)"),
            ("is_right", "a == 1"),
            ("is_right", "0 < b"),
            ("is_right", "b < 3"),
            ("check_post", "return request.signed_by(1)"),
            ("later", "a > 1"),
            ("later", "open_signed(key, a)"),
            ("later", "x > 3"),
            ("later", "accept"),
            ("tell", "m.may_admit"),
            ("tell", "m.mid in self.listed"),
            ("run_post", "allowed=_may_post"),
        ]
    )


def test_a_file_that_does_not_raise_is_guarded_otherwise() -> None:
    """Early returns, and conditions without another side, count in the files that are listed."""
    [file, *_] = GUARDED
    steps = [m.step.text for m in mutants_of(file, GUARDS)]
    assert steps == ["a is None", "b.stale", "a.mine", "b.mine", "a.old", "b.old"]
    assert mutants_of("ofcd/relay/x.py", GUARDS) == []


def test_a_mutant_stands_on_the_lines_of_its_statements_head() -> None:
    """By them the tests are found that reach it: not by those of what is inside."""
    source = (
        "def f(a):\n    if (\n        a.b\n        or a.c\n    ):\n        x = 1\n        raise E\n"
    )
    assert {m.lines for m in mutants_of("x.py", source)} == {range(2, 6)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < 0", "if False or b < 0:"),
        ("b", "if not (a and True):"),
        ("a > b", "if False:"),
        ("check_more(a)", "    None\n"),
        ("_require: a", "_require(True and b)"),
        ("open_signed(a, b)", ".peek(b)"),
        ("open_signed(key, a)", ".peek(a).record"),
        ("x > 3", "[x for x in a if True and accept]"),
        ("m.may_admit", "lambda m: True and m.mid in self.listed"),
        ("allowed=_may_post", "Command(check_post, run_post, record=Event)"),
        ("0 < b", "return a == 1 and b < 3"),
        ("b < 3", "return a == 1 and 0 < b"),
        ("return request.signed_by(1)", "return ()"),
    ],
)
def test_a_mutant_is_the_source_without_its_step(text: str, expected: str) -> None:
    """The rest of the source stays as it was."""
    [mutant] = [m for m in mutants_of("x.py", SOURCE) if m.step.text == text]
    mutated = without(SOURCE, mutant)
    assert expected in mutated
    changed = set(mutated.splitlines()) - set(normal(SOURCE).splitlines())
    assert len(changed) == 1


def normal(source: str) -> str:
    """The source as `ast` prints it."""
    return ast.unparse(ast.parse(source))


def test_every_explanation_is_of_a_step_that_is_there() -> None:
    """The allow-list names steps of today's source, and says why."""
    explained = mutation_check.allowed()
    assert outdated(explained, find_mutants(ROOT)) == []
    assert all(len(why) > 20 for why in explained.values())


def test_all_sources_have_steps_and_tests_that_exist() -> None:
    """No source is listed in vain, and every test that is named is there."""
    for source in mutation_check.SOURCES:
        mutants = find_mutants(ROOT, [source])
        assert mutants
        for test in mutation_tests.tests_for(mutants[0].step.file):
            assert (ROOT / test).exists(), test


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two checks, of which one is tested."""
    root = tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    (root / "checked.py").write_text(
        "def check(a):\n"
        "    if a < 0:\n        raise ValueError\n"
        "    if a > 9:\n        raise ValueError\n"
    )
    (root / "tests" / "test_checked.py").write_text(
        "import checked, pytest\n"
        "def test_small():\n    with pytest.raises(ValueError):\n        checked.check(-1)\n"
        "def test_right():\n    checked.check(1)\n"
    )
    return root


@pytest.mark.slow
@pytest.mark.live
def test_what_no_test_notices_survives(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In real runs of pytest: the tested step's mutant is red, the other one is green."""
    monkeypatch.setattr(mutation_tests, "TESTS", {"checked.py": ("tests",)})
    copies = [mutation_check.make_copy(project, tmp_path / f"copy{n}") for n in range(2)]
    reach = Reach()
    trial = Trial(copies[0].root, tmp_path / "baseline.log", ("tests",), measures=True)
    assert reach.measure(trial, ["checked.py"])
    mutants: list[Mutant] = find_mutants(project, ["checked.py"])
    results = list(mutation_check.run_all(mutants, copies, tmp_path, reach))
    assert {result.step.text: result.red for result in results} == {
        "a < 0": "tests/test_checked.py::test_small",
        "a > 9": "",
    }
    assert {result.step.text for result in results if result.survived} == {"a > 9"}
    for made in copies:
        there = (made.root / "checked.py").read_text()
        assert there == (project / "checked.py").read_text()


@pytest.mark.slow
@pytest.mark.live
def test_only_tests_that_reach_a_line_are_run(project: Path, tmp_path: Path) -> None:
    """Those that noticed other mutants of the file come first, then the quick ones."""
    reach = Reach()
    trial = Trial(project, tmp_path / "baseline.log", ("tests",), measures=True)
    assert reach.measure(trial, ["checked.py"])
    [known] = reach.lines.values()
    first, second = "tests/test_checked.py::test_small", "tests/test_checked.py::test_right"
    assert set(known[2]) == {first, second}
    assert known[3] == [first]


def test_what_noticed_most_is_asked_first() -> None:
    """Of those that reach a line and are named for its file; where none does, all are asked."""
    file, [folder] = "ofcd/e2e/x.py", mutation_tests.tests_for("ofcd/e2e/x.py")
    slow, quick, other = f"{folder}/a.py::slow", f"{folder}/a.py::quick", "tests/docs/a.py::other"
    reach = Reach({slow: 2.0, quick: 1.0}, {file: {7: [slow, other], 8: [quick]}})
    assert reach.tests(file, range(7, 9)) == (quick, slow)
    reach.noticed(file, slow)
    assert reach.tests(file, range(7, 9)) == (slow, quick)
    assert reach.tests(file, range(1, 2)) == (folder,)


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    """Results are kept, and forgotten when sources or tests are others."""
    diary = Diary(tmp_path / "var" / "mutation.jsonl", "tree")
    assert diary.read() == {}
    diary.begin()
    green = Result(Step("x.py", "check", "a", 1), GREEN, 0.5)
    red = Result(Step("x.py", "check", "b"), RED, 0.1, "tests/x.py::test")
    diary.write(green)
    diary.write(red)
    assert diary.read() == {green.step: green, red.step: red}
    assert evolve(diary, tree="another").read() == {}
