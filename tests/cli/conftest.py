"""A relay's folder, and the command run on it in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from ofcd.cli import main
from tests.cli.support import Ran


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The settings of a relay that was never started: any port, its data beside them."""
    path = tmp_path / "config.toml"
    path.write_text('[relay]\nport = 0\ndata_dir = "var"\n')
    return path


@pytest.fixture
def ofcd(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs `main` with these arguments, as a shell would."""

    def run(*arguments: object) -> Ran:
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as done:
            code = int(done.code or 0)
        finally:
            structlog.reset_defaults()
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run
