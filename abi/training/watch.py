"""Who watches a training: the progress bar, the log of curves."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from abi.outcomes import Epoch, Revision


@runtime_checkable
class Watcher(Protocol):
    """Told of every step and epoch."""

    def step(self, done: int, total: int) -> None:
        """`done` of `total` steps are through."""
        ...

    def epoch(self, line: Epoch, attention: Float[np.ndarray, " features"], norms: dict[str, float]) -> None:
        """An epoch ended; `norms` are L2 norms of parameter groups."""
        ...

    def revised(self, revision: Revision) -> None:
        """Memory ran out; training goes on with smaller micro-batches."""
        ...


class Unwatched:
    """Nobody watches."""

    def step(self, done: int, total: int) -> None:
        """Nothing to do."""

    def epoch(self, line: Epoch, attention: Float[np.ndarray, " features"], norms: dict[str, float]) -> None:
        """Nothing to do."""

    def revised(self, revision: Revision) -> None:
        """Nothing to do."""
