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

from abi.execution.recorder import Recorder
from abi.families.artifact import joined
from abi.families.losses import members_loss
from abi.families.network import Cells, Network
from abi.problem import Task
from abi.training.hardening import Aim, add_gradients
from abi.types import Execution


def peak_bytes(
    network: Network,
    train: Cells,
    target: Shaped[Tensor, "rows ..."],
    validation: Cells,
    execution: Execution,
    task: Task,
    gone: Cells | None = None,
) -> int:
    """Bytes at the peak of training and validating on the CPU: data, weights, gradients, moments, activations.

    A copy of the network is stepped, and torch's random state put back, so that the training itself is not touched.
    `gone` is a row without any value, where training needs one.
    """
    tried = copy.deepcopy(network)
    rows = train.take(torch.arange(min(execution.part_rows, train.rows)))
    own = target[: rows.rows].clone()  # a view would bring its whole storage into the account
    chunk = validation.take(torch.arange(min(execution.micro_batch or network.chunk_rows, validation.rows)))
    with _random_state_kept():
        if execution.hardening is None and tried.projections is None:
            followed = _of_plain(tried, rows, own, chunk, task)
        else:
            followed = _by_storages(tried, rows, own, chunk, Aim(execution, task, 0.0, gone))
    copies = 2 if execution.average else 1  # the best epoch's weights, and their average
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return int(
        followed + copies * weights + bytes_of(train) + bytes_of(validation) + target.numel() * target.element_size()
    )


def _of_plain(tried: Network, rows: Cells, own: Tensor, chunk: Cells, task: Task) -> int:
    from torch.distributed._tools.mem_tracker import MemTracker  # noqa: PLC0415 - a fifth of a second

    optimizer = torch.optim.AdamW(tried.parameters(), fused=True)
    tracker = MemTracker()
    tracker.track_external(tried, optimizer)
    with tracker:
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
    return int(tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"])


def _by_storages(tried: Network, rows: Cells, own: Tensor, chunk: Cells, aim: Aim) -> int:
    """The same of a hardened or aligned training: torch's tracker follows no second forward pass in a step."""
    optimizer, recorder = torch.optim.AdamW(tried.parameters(), fused=True), Recorder()
    tried.train()
    add_gradients(tried, rows, own, aim, 1.0)
    optimizer.step()
    moments = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
    gradients = [p.grad for p in tried.parameters() if p.grad is not None]
    recorder.follow([*tried.parameters(), *tried.buffers(), *moments, *gradients])
    with recorder:
        recorder.enter("forward")
        optimizer.zero_grad()
        add_gradients(tried, rows, own, aim, 1.0)
        optimizer.step()
        tried.eval()
        with torch.no_grad():
            joined(tried(chunk), aim.task)
    return recorder.phases["forward"].peak_bytes


def bytes_of(cells: Cells) -> int:
    """Bytes of encoded rows."""
    return sum(tensor.numel() * tensor.element_size() for tensor in cells.tensors())


@contextmanager
def _random_state_kept() -> Iterator[None]:
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
