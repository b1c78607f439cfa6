"""Crash points: a process that dies at any one of its awaits, in the same process as its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

__all__ = ["Countdown"]

_FOREVER: Final = -1


class Countdown(trio.abc.Instrument):
    """Calls `crash` once the tasks below `root` have made `steps` steps: from await to await."""

    def __init__(self, root: trio.lowlevel.Task, crash: Callable[[], None]) -> None:
        self._root = root
        self._crash = crash
        self.left = _FOREVER
        self.made = 0
        """Steps made so far."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count in this block."""
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio calls this when a task has come to its next await."""
        if not self._is_below(task):
            return
        self.made += 1
        if self.left > 0:
            self.left -= 1
            if self.left == 0:
                self.left = _FOREVER
                self._crash()

    def _is_below(self, task: trio.lowlevel.Task | None) -> bool:
        while task is not None:
            if task is self._root:
                return True
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return False
