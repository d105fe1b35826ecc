"""What tests of training share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from abi.training.checkpoint import Progress
from abi.training.pace import Pace


@pytest.fixture
def cut_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Called with a step, it lets the clock shorten schedules to that one as soon as it is looked at, in step 20."""
    begin = Pace.__init__

    def cut(last: int) -> None:
        def begun(self: Pace, planned: int, limit_s: float | None, progress: Progress, agree: Any) -> None:
            begin(self, planned, limit_s, progress, lambda _: last - progress.step)

        monkeypatch.setattr(Pace, "__init__", begun)

    return cut


class Kept:
    """Checkpoints in memory: all that were ever saved. It begins with `first`."""

    def __init__(self, first: bytes | None = None) -> None:
        self.first, self.all = first, list[bytes]()

    def load(self) -> bytes | None:
        return self.all[-1] if self.all else self.first

    def save(self, data: bytes) -> None:
        self.all.append(data)

    def clear(self) -> None:
        self.all = []
