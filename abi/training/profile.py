"""Where memory and time of a step go: one micro-batch of the very network, followed part by part.

A step has three pieces: encoders, backbone, heads with the loss. In the backward pass hooks on what each gave to the next
tell them apart. Every storage is marked with the piece that made it, so that the fullest instant of each phase can be
taken apart; then the same pieces are timed, with nobody following.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from abi.execution.out_of_memory import is_out_of_memory, release
from abi.execution.recorder import Recorder, Recording
from abi.execution.target import Target
from abi.families.alignment import alignment_loss
from abi.families.artifact import joined
from abi.families.losses import members_loss
from abi.families.network import Cells, Network
from abi.problem import Task
from abi.resources import Held, Part, Stage, StageMemory, StepProfile, Work
from abi.training.memory import bytes_of
from abi.types import Execution
from abi.units import six_digits

LONGEST_S: Final = 0.5
"""Seconds after which no further step is timed."""
REPEATS: Final = 7
Enter = Callable[[Stage | None, Part | None], None]


def profiled(
    network: Network,
    train: Cells,
    target: Shaped[Tensor, "rows ..."],
    validation: Cells,
    execution: Execution,
    task: Task,
) -> StepProfile | None:
    """The profile; None where memory does not hold a second network of that size. Nothing that is given is touched."""
    try:
        with _random_state_kept(execution.device):
            return _profile(network, train, target, validation, execution, task)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    release(execution.device)
    return None


def _profile(
    network: Network, train: Cells, target: Tensor, validation: Cells, execution: Execution, task: Task
) -> StepProfile:
    step = _Step(copy.deepcopy(network), train, target, validation, execution, task)
    copies = (2 if execution.average else 1) * _size(network.parameters())
    data = bytes_of(train) + bytes_of(validation) + target.numel() * target.element_size()
    step.run(lambda _, __: None)  # the optimizer's state is made
    recorder = _Marked(step, Target(kind="gpu" if execution.device.startswith("cuda") else "cpu"))
    with recorder:
        step.run(recorder.mark)
        step.evaluate(recorder.mark)
    times = _times(step, execution.device)
    recorded = recorder.recorded
    memory = []
    for stage, held in recorder.fullest.items():
        whole = {"data": data + held.get("data", 0), "copies": copies} | {k: v for k, v in held.items() if k != "data"}
        memory.append(StageMemory(stage=stage, held={name: size for name, size in whole.items() if size > 0}))  # type: ignore[misc]  # names of Held
    return StepProfile(
        rows=step.rows,
        parts=-(-min(execution.batch_rows, train.rows) // step.rows),
        precision=execution.precision,
        memory=tuple(memory),
        work=tuple(_work(stage, part, done, times[stage, part]) for (stage, part), done in recorded.items()),
        uncounted=tuple(
            sorted({n for done in recorded.values() for n, costs in done.operators.items() if not costs[3]})
        ),
    )


def _work(stage: Stage, part: Part | None, done: Recording, seconds: float) -> Work:
    calls, flops, moved = (sum((costs[place] for costs in done.operators.values()), 0.0) for place in range(3))
    return Work(stage=stage, part=part, flops=flops, bytes=moved, calls=int(calls), seconds=six_digits(seconds))


class _Step:
    """A micro-batch in pieces; `run` tells of each as it begins."""

    def __init__(
        self, network: Network, train: Cells, target: Tensor, validation: Cells, execution: Execution, task: Task
    ) -> None:
        self.network, self.task, self.smoothing = network, task, execution.smoothing
        self.alignment = execution.alignment
        device = target.device
        self.optimizer = torch.optim.AdamW(network.parameters(), fused=True)
        self.cells = train.take(torch.arange(min(execution.part_rows, train.rows), device=device))
        self.target = target[: self.cells.rows].clone()  # a view would bring its whole storage into the account
        chunk = min(execution.micro_batch or network.chunk_rows, validation.rows)
        self.chunk = validation.take(torch.arange(chunk, device=device))
        self.rows = self.cells.rows

    def run(self, enter: Enter) -> None:
        """One step."""
        network = self.network
        network.train()
        self.optimizer.zero_grad(set_to_none=True)
        enter("forward", "feature extraction")
        embedding = network.embed(self.cells)
        _when_reached(embedding, lambda: enter("backward", "feature extraction"))
        enter("forward", "middle")
        thought = network.think(embedding)
        _when_reached(thought, lambda: enter("backward", "middle"))
        held = None if network.projections is None else embedding
        del embedding  # what needs it holds it, as without pieces
        enter("forward", "output")
        out = network.answer(thought)
        del thought
        loss = members_loss(out, self.target, self.task, self.smoothing)
        beside = None if held is None else alignment_loss(network, held, None, self.alignment)
        loss = loss if beside is None else loss + beside
        del out, held, beside
        enter("backward", "output")
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        del loss
        enter("optimizer", None)
        self.optimizer.step()
        enter(None, None)

    def evaluate(self, enter: Enter) -> None:
        """One chunk of rows without gradients."""
        network = self.network
        network.eval()
        with torch.no_grad():
            enter("evaluate", "feature extraction")
            embedding = network.embed(self.chunk)
            enter("evaluate", "middle")
            thought = network.think(embedding)
            enter("evaluate", "output")
            joined(network.answer(thought), self.task)
            enter(None, None)


def _when_reached(between: Tensor, do: Callable[[], None]) -> None:
    """Once the backward pass has the gradient of what one piece gave to the next."""
    if between.requires_grad:
        between.register_hook(lambda _: do())  # type: ignore[no-untyped-call]  # torch does not annotate it


class _Marked(Recorder):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Follows storages with what each is for; `fullest` is what each phase held at its peak."""

    def __init__(self, step: _Step, target: Target) -> None:
        self.marks: dict[int, Held] = {}
        self.fullest: dict[Stage, dict[str, int]] = {}
        self.recorded: dict[tuple[Stage, Part | None], Recording] = {}
        self._most: dict[Stage, int] = {}
        self._now: tuple[Stage, Part | None] | None = None
        super().__init__(target=target)
        self._held = list(step.network.parameters())
        states = [v for state in step.optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
        self._owned("weights", [*self._held, *step.network.buffers()])
        self._owned("optimizer state", states)
        self._owned("data", [*step.cells.tensors(), *step.chunk.tensors(), step.target])

    def mark(self, stage: Stage | None, part: Part | None) -> None:
        """Begin a piece, or end the last one."""
        self._now = None if stage is None else (stage, part)
        self.enter(stage)
        if stage is not None:
            self.recorded[stage, part] = self.phases[stage]

    def follow(self, tensors: Iterable[Tensor]) -> bool:
        """As the recorder does; new storages belong to the piece that is on."""
        tensors = list(tensors)
        keys = [t.untyped_storage()._cdata for t in tensors]
        fresh = [key for key in keys if key not in self._known]
        new = super().follow(tensors)
        if self._now is not None:
            for key in fresh:
                self.marks[key] = self._now[1] or "update"
        return new

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if self._now is not None and self.live > self._most.get(self._now[0], -1):
            self._most[self._now[0]] = self.live
            self.fullest[self._now[0]] = self._sums()
        return out

    def _owned(self, name: Held, tensors: Iterable[Tensor]) -> None:
        tensors = list(tensors)
        self.follow(tensors)
        for tensor in tensors:
            self.marks.setdefault(tensor.untyped_storage()._cdata, name)

    def _sums(self) -> dict[str, int]:
        gradients = {p.grad.untyped_storage()._cdata for p in self._held if p.grad is not None}
        sums: dict[str, int] = {}
        for key, (_, size, _) in self._known.items():
            name = "gradients" if key in gradients else self.marks.get(key, "update")
            sums[name] = sums.get(name, 0) + size
        return sums


def _times(step: _Step, device: str) -> dict[tuple[Stage, Part | None], float]:
    """Median seconds of each piece, waited for one by one."""
    found: dict[tuple[Stage, Part | None], list[float]] = {}
    on: list[tuple[tuple[Stage, Part | None], float]] = []

    def enter(stage: Stage | None, part: Part | None) -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        if on:
            key, began = on.pop()
            found.setdefault(key, []).append(now - began)
        if stage is not None:
            on.append(((stage, part), time.perf_counter()))

    began = time.perf_counter()
    for _ in range(REPEATS):
        step.run(enter)
        step.evaluate(enter)
        if time.perf_counter() - began > LONGEST_S:
            break
    return {key: float(np.median(times[1:] if len(times) > 1 else times)) for key, times in found.items()}


def _size(parameters: Iterable[Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


@contextmanager
def _random_state_kept(device: str) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        yield
