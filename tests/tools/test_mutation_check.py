"""The mutation check itself: what it removes, and that it notices what no test notices."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools import mutation_check
from tools.mutation_check import Mutant, Step, find_mutants, mutants_of, outdated, without

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

def is_right(a, b):
    return a == 1 and 0 < b < 3

def check_post(request) -> Signatures:
    return request.signed_by(1)

def is_not_a_check(a):
    if a:
        a = 1
        raise ValueError
    log(a)
    return a
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
            ("check", "signed = open_signed(a, b)"),
            ("is_right", "a == 1"),
            ("is_right", "0 < b"),
            ("is_right", "b < 3"),
            ("check_post", "return request.signed_by(1)"),
        ]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < 0", "if False or b < 0:"),
        ("b", "if not (a and True):"),
        ("a > b", "if False:"),
        ("check_more(a)", "    None\n"),
        ("_require: a", "_require(True and b)"),
        ("signed = open_signed(a, b)", ".peek(b)"),
        ("0 < b", "return a == 1 and b < 3"),
        ("b < 3", "return a == 1 and 0 < b"),
        ("return request.signed_by(1)", "return ()"),
    ],
)
def test_a_mutant_is_the_source_without_its_step(text: str, expected: str) -> None:
    """The rest of the source stays as it was."""
    [mutant] = [m for m in mutants_of("x.py", SOURCE) if m.step.text == text]
    mutated = without(SOURCE, mutant.number)
    assert expected in mutated
    changed = set(mutated.splitlines()) - set(normal(SOURCE).splitlines())
    assert len(changed) == 1


def normal(source: str) -> str:
    """The source as `ast` prints it."""
    return ast.unparse(ast.parse(source))


def test_every_explanation_is_of_a_step_that_is_there() -> None:
    """The allow-list names steps of today's source, and says why."""
    explained = mutation_check.allowed()
    assert outdated(explained, find_mutants(mutation_check.ROOT)) == []
    assert all(len(why) > 20 for why in explained.values())


def test_all_sources_have_steps_and_tests_that_exist() -> None:
    """No source is listed in vain, and every test that is named is there."""
    for source in mutation_check.SOURCES:
        mutants = find_mutants(mutation_check.ROOT, [source])
        assert mutants
        for test in mutation_check.tests_for(mutants[0].step.file):
            assert (mutation_check.ROOT / test).exists(), test


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
    )
    return root


@pytest.mark.slow
@pytest.mark.live
def test_what_no_test_notices_survives(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In real runs of pytest: the tested step's mutant is red, the other one is green."""
    monkeypatch.setattr(mutation_check, "TESTS", {"checked.py": ("tests",)})
    copies = [mutation_check.make_copy(project, tmp_path / f"copy{n}") for n in range(2)]
    assert mutation_check.passes(copies[0].root, ["checked.py"], tmp_path)
    mutants: list[Mutant] = find_mutants(project, ["checked.py"])
    results = list(mutation_check.run_all(mutants, copies, tmp_path))
    assert {result.step: result.survived for result in results} == {
        Step("checked.py", "check", "a < 0"): False,
        Step("checked.py", "check", "a > 9"): True,
    }
    for made in copies:
        assert (made.root / "checked.py").read_text() == (project / "checked.py").read_text()
