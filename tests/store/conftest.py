"""Databases for the tests: migrated once, then copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ofcd.store import Store, migrate
from tests.store.support import opened, url


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database; copy it, change nothing."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    migrate.upgrade(url(path))
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with opened(template, tmp_path) as made:
        yield made
