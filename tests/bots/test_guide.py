"""docs/bots.md: every file on the page works, and its tests pass in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import ROOT

PAGE = (ROOT / "docs" / "bots.md").read_text(encoding="utf-8")
FILES = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.mark.slow
def test_the_guides_code_runs(tmp_path: Path) -> None:
    """Written out as it says, with the conftest it names: all its tests are green."""
    assert len(FILES) == PAGE.count("```python\n") >= 6
    for name, text in FILES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "conftest.py").write_text("from bots.testing.plugin import world\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\npythonpath = .\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    tests = sum(text.count("async def test_") for _, text in FILES)
    assert f"{tests} passed" in done.stdout, done.stdout + done.stderr
