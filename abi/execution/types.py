"""What is known of a module's training step before it runs, and what is decided about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from abi.devices.device import Arithmetic, Cluster
from abi.values import Late, Value

Objective = Literal["throughput", "energy", "cost", "memory"]
PhaseName = Literal["forward", "backward", "optimizer", "evaluate"]
Binder = Literal["arithmetic", "bandwidth", "launches", "communication", "loader"]
Parallel = Literal["none", "ddp", "fsdp"]
TRAINING: Final[tuple[PhaseName, ...]] = ("forward", "backward", "optimizer")
GLOBAL_BATCH: Final = 256
STEPS: Final = 1000
"""Of a job where nobody says."""


@dataclass(frozen=True, kw_only=True)
class OperatorCost(Value):
    """All calls of one operator in one phase: FLOPs (a multiply-add is two), bytes read and written, kernels launched.

    `counted` is false where no formula gives its FLOPs: `flops` is then 0 and a lower bound. `matrix` operators run at the
    matrix rate of the arithmetic, others are bound by bandwidth.
    """

    name: str
    calls: int
    flops: float
    bytes: float
    counted: bool
    matrix: bool


@dataclass(frozen=True, kw_only=True)
class PhaseTrace(Value):
    """One phase at one number of rows: the most bytes of tensors that were alive at a time, and its operators."""

    phase: PhaseName
    peak_bytes: int
    operators: tuple[OperatorCost, ...]
    allocated_bytes: int = 0
    """The most that a GPU's allocator gives out at a time: whole blocks; 0 for a processor."""
    reserved_bytes: int = 0
    """The most that it takes from the driver."""
    refused: bool = False
    """Whether it had to refuse a request."""


@dataclass(frozen=True, kw_only=True)
class StepTrace(Value):
    """A training step (the second: optimizer state is there) and an evaluation, on `rows` rows."""

    rows: int
    phases: tuple[PhaseTrace, ...]


@dataclass(frozen=True, kw_only=True)
class CallLine(Value):
    """Calls of one operator in one phase that cost alike.

    Attributes:
        name: of the operator.
        calls: how many.
        flops, bytes: of each call: fixed, and for each row.
        rate: at which its products run: the footprint's own, that of bfloat16, of float32; empty where there are none.
        times: how many times the roof it takes.
        tensor_times: the same where tf32 is used.
        kernels: that one call starts.
    """

    name: str
    calls: int
    flops: tuple[float, float]
    bytes: tuple[float, float]
    rate: Literal["", "own", "low", "full"]
    times: float
    tensor_times: float
    kernels: float


@dataclass(frozen=True, kw_only=True)
class PhaseBound(Value):
    """Bytes of a phase are at most ``fixed + row * rows``, at any number of rows.

    The peak moves: with few rows it lies where all gradients are there, with many where all activations are. So the phase
    takes the largest of `lines`, one (fixed, row) for each instant that is a peak at some number of rows; ``fixed + row *
    rows`` lies above them all. The lines through operators are sums over all of them: `moved_bytes` has those of matrix
    products too, which `matrix_bytes` gives apart; `calls` has each operator by itself. `launches` are the operators that
    the host hands over, views among them.
    """

    phase: PhaseName
    fixed_bytes: float
    row_bytes: float
    matrix_flops_fixed: float
    matrix_flops_row: float
    moved_bytes_fixed: float
    moved_bytes_row: float
    launches: float
    matrix_bytes_fixed: float = 0.0
    matrix_bytes_row: float = 0.0
    lines: tuple[tuple[float, float], ...] = ()
    calls: tuple[CallLine, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Footprint(Value):
    """What one module costs under one arithmetic, with or without activation checkpointing.

    Attributes:
        arithmetic: of its matrix products.
        checkpointing: whether activations are computed again in the backward pass.
        parameters: trainable ones.
        parameter_bytes, gradient_bytes, optimizer_bytes: what they take (in every phase's `fixed_bytes` already).
        phases: forward, backward, optimizer, evaluate.
        uncounted: operators without a formula; each widens the bound of time.
        margin: relative, one-sided: bytes are at most (1 + margin) times the line.
        recurrent: whether a part of `margin` is for a processor's own kernels of recurrent layers.
        evaluation_margin: that of evaluation, where the trace of one row's asks for more.
        traced_rows: numbers of rows that it was traced at.
        method: traced under fake tensors, or measured by running it where it cannot be traced.
        reason: why it was not traced; empty where it was.
    """

    arithmetic: Arithmetic
    checkpointing: bool
    parameters: int
    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    phases: tuple[PhaseBound, ...]
    uncounted: tuple[str, ...]
    margin: float
    traced_rows: tuple[int, ...]
    method: Literal["traced", "measured"] = "traced"
    reason: str = ""
    recurrent: bool = False
    evaluation_margin: Late[float | None] = None


@dataclass(frozen=True, kw_only=True)
class Limits(Value):
    """What running may take; None is no limit. Memory is per device, `cost` in the currency of the device's price."""

    memory_bytes: int | None = None
    host_memory_bytes: int | None = None
    train_time_s: float | None = None
    energy_j: float | None = None
    cost: float | None = None
    latency_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Job(Value):
    """What is to be done, however it is run: the global batch stays what was asked for."""

    global_batch: int
    steps: int
    row_bytes: int
    """Bytes of one row of input on its way to the device."""


@dataclass(frozen=True, kw_only=True)
class Configuration(Value):
    """One way to run it: global batch = micro_batch x accumulation x devices."""

    devices: int
    parallel: Parallel
    arithmetic: Arithmetic
    checkpointing: bool
    micro_batch: int
    accumulation: int
    workers: int


@dataclass(frozen=True, kw_only=True)
class RunCost(Value):
    """What training by a configuration is predicted to take; a plan is accepted by `memory_bound`, the upper bound.

    `train_bound_s` is `train_s` widened for operators without a formula; time, energy and price are accepted by it.
    `compute_s`, `communication_s` (what the backward pass does not hide of it) and `loader_s` are of one step; `latency_s`
    is an evaluation of one row on one device.
    """

    memory_bytes: int
    memory_bound: int
    host_bytes: int
    step_s: float
    compute_s: float
    communication_s: float
    loader_s: float
    train_s: float
    train_bound_s: float
    latency_s: float
    energy_j: float
    price: float | None
    rows_per_s: float
    bound_by: Binder


@dataclass(frozen=True, kw_only=True)
class Evaluation(Value):
    """How evaluation runs on the devices that train, between their steps: gradients and optimizer state stay there.

    Attributes:
        batch: rows on each device at a time.
        devices: each evaluates rows of its own.
        arithmetic: training's own: another would be another model.
        memory_bytes, memory_bound: of one device, predicted and at most.
        host_bytes: of batches on their way from the host.
        batch_s: seconds of one batch on each device.
        working_s: the same without waiting for the loader.
        rows_per_s: of all devices.
        bound_by: what holds it back.
    """

    batch: int
    devices: int
    arithmetic: Arithmetic
    memory_bytes: int
    memory_bound: int
    host_bytes: int
    batch_s: float
    working_s: float
    rows_per_s: float
    bound_by: Binder


@dataclass(frozen=True, kw_only=True)
class Alternative(Value):
    """A configuration that lost, and why."""

    configuration: Configuration
    cost: RunCost
    why: str


@dataclass(frozen=True, kw_only=True)
class ExecutionPlan(Value):
    """The decision about one module.

    Attributes:
        reasons: one sentence for each choice, then the binding limit and what a little more of it would buy.
        sensitivities: limit -> sentence from solving again with 5% more and 5% less of it.
        objective: what was ranked by.
        evaluation: how the module is evaluated; None where that was not asked, as in plans recorded before.
    """

    module: str
    cluster: Cluster
    limits: Limits
    job: Job
    footprint: Footprint
    configuration: Configuration
    predicted: RunCost
    reasons: tuple[str, ...]
    sensitivities: dict[str, str]
    alternatives: tuple[Alternative, ...]
    versions: dict[str, str]
    objective: Objective = "throughput"
    evaluation: Late[Evaluation | None] = None
