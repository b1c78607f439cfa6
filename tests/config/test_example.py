"""The example file is the settings: complete, current, and equal to the defaults."""

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from ofcd.config import Settings, render_example
from ofcd.config.__main__ import main
from ofcd.config.fields import DOC, Doc
from ofcd.config.sections import SECTIONS

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_the_committed_example_is_current() -> None:
    """`make example` would change nothing."""
    assert EXAMPLE.read_text(encoding="utf-8") == render_example()


def test_the_example_parses_to_the_defaults() -> None:
    """Starting with the example is starting with the defaults."""
    assert Settings.load(EXAMPLE) == Settings.default()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_stands_in_the_example_below_its_doc(section: str) -> None:
    """Each key has one line for its value, right after a comment that begins with its doc."""
    part = render_example().split(f"\n[{section}]\n")[1].split("\n\n\n")[0]
    blocks = part.strip().split("\n\n")
    assert len(blocks) == len(attrs.fields(SECTIONS[section]))
    for attribute, block in zip(attrs.fields(SECTIONS[section]), blocks, strict=True):
        doc: Doc = attribute.metadata[DOC]
        *about, value = block.splitlines()
        assert value.startswith(f"{attribute.name} = ")
        assert " ".join(line.removeprefix("# ") for line in about).startswith(doc.text)


def test_lines_fit_a_screen() -> None:
    """No line is over 100 characters."""
    assert max(map(len, render_example().splitlines())) <= 100


def test_the_module_prints_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m ofcd.config --example` writes it to standard output."""
    assert main(["--example"]) == 0
    assert capsys.readouterr().out == render_example()


def test_any_other_use_of_the_module_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and a usage line."""
    assert main([]) == 2
    assert "usage: python -m ofcd.config --example" in capsys.readouterr().err


def test_settings_are_light_to_load() -> None:
    """Reading settings loads neither trio nor SQLAlchemy, in a fresh interpreter."""
    code = "import sys, ofcd.config; sys.exit(bool({'trio', 'sqlalchemy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
