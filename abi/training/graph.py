"""Steps as CUDA graphs (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).

A small network is bound by the host, which hands a GPU one operator after another. Captured once, all of them are handed
over at one go: the same kernels in the same order, whose results are the same. What a graph reads and writes lies at fixed
places; the rows' numbers are copied in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from abi.execution.out_of_memory import room_bytes

WARM: Final = 3
"""Steps that run operator by operator first, for each number of rows: libraries choose kernels and take workspace."""
SIZES: Final = 4
"""Numbers of rows that are captured; an epoch's steps have one or two."""

Work = Callable[[Tensor], None]


@dataclass(frozen=True)
class _Captured:
    graph: Any
    index: Tensor


class Graphs:
    """Does the same work as graphs, one for each number of rows; operator by operator where it cannot be captured.

    Args:
        limit_bytes: of the GPU's memory. A graph keeps activations of its own, so there must be twice what steps took.

    Attributes:
        refused: why nothing is captured any more; empty where it is.
    """

    def __init__(self, limit_bytes: int | None) -> None:
        self._limit = limit_bytes
        self._captured: dict[int, _Captured] = {}
        self._seen: dict[int, int] = {}
        self._pool: Any = None
        self.refused = ""

    def __call__(self, index: Tensor, work: Work) -> None:
        """Do it with the rows of these numbers.

        `work` is the same each time. It must not wait for the GPU, and what it reads and writes must not move.
        """
        rows = len(index)
        found = self._captured.get(rows)
        if found is None:
            seen = self._seen[rows] = self._seen.get(rows, 0) + 1
            if self.refused or seen <= WARM or len(self._captured) >= SIZES or not self._room(index.device):
                work(index)
                return
            found = self._capture(index, work)
            if found is None:
                work(index)
                return
            self._captured[rows] = found
        found.index.copy_(index)
        found.graph.replay()

    def forget(self) -> None:
        """What is read and written has moved: capture anew."""
        self._captured.clear()
        self._seen.clear()
        self._pool = None

    @property
    def count(self) -> int:
        """How many graphs there are."""
        return len(self._captured)

    def _capture(self, index: Tensor, work: Work) -> _Captured | None:
        torch.cuda.synchronize(index.device)
        _without_workspaces()  # the graph takes its own
        random = torch.cuda.default_generators[index.device.index or 0]
        before = random.clone_state()
        graph, own = torch.cuda.CUDAGraph(), index.clone()
        try:
            # other threads measure energy and memory meanwhile
            with torch.cuda.graph(graph, self._pool, capture_error_mode="thread_local"):
                work(own)
        except RuntimeError as error:
            self.refused = str(error).splitlines()[0]
            random.graphsafe_set_state(before)  # a broken capture leaves it unusable
            return None
        finally:
            _without_workspaces()  # the next graph has them where this one had
        self._pool = graph.pool()
        return _Captured(graph, own)

    def _room(self, device: torch.device) -> bool:
        room = room_bytes(device)
        assert room is not None
        if 2 * torch.cuda.max_memory_allocated(device) <= min(room, self._limit or room):
            return True
        self.refused = "there is no memory for a graph"
        return False


def _without_workspaces() -> None:
    """Give back what matrix libraries and plain steps hold: each stream has a workspace of its own (torch._inductor.cudagraph_trees does so)."""
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
