"""What a training took beside its `Cost`, and where its memory and time went: measured once, while it trains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from abi.values import Late, Value

Part = Literal["feature extraction", "middle", "output"]
"""Of the network; the loss is a part of the output."""
Stage = Literal["forward", "backward", "optimizer", "evaluate"]
Held = Literal[
    "data", "copies", "weights", "gradients", "optimizer state", "feature extraction", "middle", "output", "update"
]
"""What tensors are for. The three parts stand for activations and their gradients, `copies` are of weights (the best
epoch's, their average), `update` is what the optimizer needs for a moment."""


@dataclass(frozen=True, kw_only=True)
class Resources(Value):
    """What a run took; None where it was not measured, and `missing` says why.

    Attributes:
        active_bytes: tensors alive at the peak, as the GPU's allocator or the trace of a step counts them.
        reserved_bytes: what the GPU's allocator had taken from the device at its peak.
        process_bytes: most resident memory of the process.
        process_by: the kernel's own mark where the process had never been larger, samples of 20 ms where it had.
        steps: how many optimizer steps the times are of, the first ones left out.
        step_s: median time of a step.
        step_p95_s: the time that 95% of the steps do not exceed.
        energy_j: of the whole device, whoever else used it.
        energy_by: the counter.
        missing: a sentence for each figure that this machine does not tell.
    """

    active_bytes: int | None
    reserved_bytes: int | None
    process_bytes: int | None
    process_by: Literal["mark", "samples"] | None
    steps: int
    step_s: float | None
    step_p95_s: float | None
    energy_j: float | None
    energy_by: Late[str] = ""
    missing: Late[tuple[str, ...]] = ()


def both(network: Resources | None, trees: Resources | None) -> Resources | None:
    """Of a network and trees that were trained one after the other: the network's steps, the energy of both."""
    if network is None or trees is None:
        return network or trees
    energy = None if network.energy_j is None or trees.energy_j is None else network.energy_j + trees.energy_j
    process = (
        None
        if network.process_bytes is None or trees.process_bytes is None
        else max(network.process_bytes, trees.process_bytes)
    )
    return replace(network, energy_j=energy, process_bytes=process)


@dataclass(frozen=True, kw_only=True)
class StageMemory(Value):
    """The instant with the most bytes of one phase of a step, and what they were for."""

    stage: Stage
    held: dict[Held, int]

    @property
    def peak_bytes(self) -> int:
        """All of them."""
        return sum(self.held.values())


@dataclass(frozen=True, kw_only=True)
class Work(Value):
    """What one part of the network does in one phase: FLOPs of its matrix products, bytes of all its operators, seconds."""

    stage: Stage
    part: Part | None
    flops: float
    bytes: float
    calls: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StepProfile(Value):
    """A trace of one micro-batch of the very network that was trained, and of an evaluation.

    Attributes:
        rows: of the micro-batch.
        parts: micro-batches of a step.
        precision: of the matrix products.
        memory: of each phase.
        work: of each phase and part; the optimizer has no part.
        uncounted: operators without a formula; their FLOPs are not in `work`.
    """

    rows: int
    parts: int
    precision: str
    memory: tuple[StageMemory, ...]
    work: tuple[Work, ...]
    uncounted: tuple[str, ...]

    @property
    def seconds(self) -> dict[tuple[Stage, Part | None], float]:
        """Of each piece in a whole step: a micro-batch's, as often as there are some; an evaluation stands apart."""
        return {
            (w.stage, w.part): w.seconds * (self.parts if w.stage in {"forward", "backward"} else 1)
            for w in self.work
            if w.stage != "evaluate"
        }
