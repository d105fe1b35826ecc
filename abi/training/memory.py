"""Memory of training, as the tensors that are alive at its peak.

What the process grows by says little: libraries keep what they freed, and what an earlier training left hides what this
one takes. So two steps and one chunk of validation are followed allocation by allocation with torch's MemTracker (the
second step, because the optimizer's state appears in the first); on a GPU the allocator keeps the figure itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Shaped
from torch import Tensor

from abi.families.artifact import CHUNK_ROWS, joined
from abi.families.losses import members_loss
from abi.families.network import Cells, Network
from abi.problem import Task
from abi.types import Execution


def peak_bytes(
    network: Network,
    train: Cells,
    target: Shaped[Tensor, " rows"],
    validation: Cells,
    execution: Execution,
    task: Task,
) -> int:
    """Bytes at the peak of training and validating on the CPU: data, weights, gradients, moments, activations.

    A copy of the network is stepped, and torch's random state put back, so that the training itself is not touched.
    """
    from torch.distributed._tools.mem_tracker import MemTracker  # noqa: PLC0415 - a fifth of a second

    tried = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(tried.parameters(), fused=True)
    tracker = MemTracker()
    tracker.track_external(tried, optimizer)
    rows = train.take(torch.arange(min(execution.part_rows, train.rows)))
    own = target[: rows.rows].clone()  # a view would bring its whole storage into the account
    chunk = validation.take(torch.arange(min(execution.micro_batch or CHUNK_ROWS, validation.rows)))
    with _random_state_kept(), tracker:
        tried.train()
        for _ in range(2):
            tracker.reset_mod_stats()
            loss = members_loss(tried(rows), own, task)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
        tracker.reset_mod_stats()
        tried.eval()
        with torch.no_grad():
            joined(tried(chunk), task)
    followed = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    copies = 2 if execution.average else 1  # the best epoch's weights, and their average
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return int(
        followed + copies * weights + bytes_of(train) + bytes_of(validation) + target.numel() * target.element_size()
    )


def tensors_of(cells: Cells) -> list[Tensor]:
    """All that encoded rows consist of."""
    parts = [part for part in (cells.category, cells.shared) if part is not None]
    for text in cells.texts:
        parts += [text.text, text.ids, text.weights, text.offsets]
    if cells.numeric is not None:
        parts += [cells.numeric.row, cells.numeric.fraction]
    return parts


def bytes_of(cells: Cells) -> int:
    """Bytes of encoded rows."""
    return sum(part.numel() * part.element_size() for part in tensors_of(cells))


@contextmanager
def _random_state_kept() -> Iterator[None]:
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
