"""Attention + envelope -> plan: the backbone, a width per feature, how it runs, what it will cost, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from abi.errors import PlanInfeasible
from abi.families.network import outputs
from abi.planning.allocate import Allotment, allocate
from abi.planning.cost import Workload, epoch_seconds, layers, predict_cost
from abi.planning.ladder import WIDTHS, ladder, step
from abi.planning.machine import Machine
from abi.types import Allocation, Attention, Capacity, Cost, Envelope, Execution, Feature, FeatureCapacity, Plan
from abi.units import show_bytes, show_count, show_seconds

if TYPE_CHECKING:
    from abi.config import Config

BACKBONES: Final = ((2, 256), (2, 192), (2, 128), (2, 96), (2, 64), (2, 48), (2, 32), (1, 16))
"""Blocks and block width, from large to small."""
EVEN_WIDTH: Final = 8
"""Width of an even split where the envelope allows it: wider ones brought nothing on validation data."""
MIN_EPOCHS: Final = 4
FEWER_MEMBERS: Final = (1.0, 0.5, 0.25, 0.125)


@dataclass(frozen=True)
class _Backbone:
    members: int
    blocks: int
    width: int


def make_plan(
    attention: Attention,
    envelope: Envelope,
    config: Config,
    machine: Machine,
    *,
    allocation: Allocation = "attention",
    train_rows: int,
    validation_rows: int,
) -> Plan:
    """Divide the envelope.

    First the even split: the largest backbone and even width that fit. Its parameters are then what the attention's
    split may spend, so that both cost the same and only the division differs. Both train on the same schedule.

    Raises:
        PlanInfeasible: nothing fits; the message names the smallest that would do.
    """
    schema = attention.scores.problem.schema
    numeric = sum(f.kind == "numeric" for f in schema.features)
    work = Workload(
        train_rows=train_rows,
        validation_rows=validation_rows,
        numeric=numeric,
        categorical=len(schema.features) - numeric,
        outputs=outputs(schema),
    )
    smallest: tuple[Cost, str] | None = None
    for backbone in _backbones(config.training.members, train_rows):
        even = _even(schema.features, backbone, work.outputs, envelope.parameters)
        execution = _execution(even, work, envelope, config, machine)
        cost = predict_cost(even, execution, work, machine)
        short = _short(cost, envelope, execution)
        if short is None:
            return _finish(attention, envelope, allocation, even, backbone, execution, work, machine)
        smallest = (cost, short)
    assert smallest is not None
    cost, short = smallest
    msg = (
        f"Expected an envelope that the smallest network for {len(schema.features)} features fits into, got {short}. The smallest that would do: "
        f"parameters={cost.parameters}, memory={math.ceil(cost.memory_bytes / 2**20)}MiB, train_time={math.ceil(cost.train_time_s)}s, latency={math.ceil(cost.latency_s * 1e3)}ms."
    )
    raise PlanInfeasible(msg)


def _backbones(members: int, train_rows: int) -> Sequence[_Backbone]:
    """From large to small; few rows do not need the largest."""
    widest = 256 if train_rows >= 20_000 else 192  # noqa: PLR2004
    fitting = [b for b in BACKBONES if b[1] <= widest]
    full = [_Backbone(members, *b) for b in fitting]
    less = [_Backbone(max(1, round(members * share)), *fitting[-1]) for share in FEWER_MEMBERS[1:]]
    return [*full, *less]


def _capacity(
    features: Sequence[Feature], allotments: Sequence[Allotment], backbone: _Backbone, out: int, reasons: Sequence[str]
) -> Capacity:
    width = sum(a.step.width for a in allotments)
    encoders = sum(a.step.encoder_parameters for a in allotments)
    return Capacity(
        features=tuple(
            FeatureCapacity(
                feature=f.name,
                width=a.step.width,
                bins=a.step.bins,
                rows=a.step.rows,
                parameters=a.step.parameters(_per_width(backbone)),
                reason=reason,
            )
            for f, a, reason in zip(features, allotments, reasons, strict=True)
        ),
        members=backbone.members,
        blocks=backbone.blocks,
        block_width=backbone.width,
        layers=layers(encoders, len(features), width, backbone.members, backbone.blocks, backbone.width, out),
    )


def _per_width(backbone: _Backbone) -> int:
    """Parameters that one unit of width costs above the encoder: a column of the first layer and K adapters."""
    return backbone.width + backbone.members


def _even(features: Sequence[Feature], backbone: _Backbone, out: int, limit: int | None) -> Capacity:
    """The widest even split within `limit` parameters (the narrowest where none fits)."""
    reason = "the even split gives every feature the same width"
    for width in (*(w for w in sorted(WIDTHS, reverse=True) if w <= EVEN_WIDTH), None):
        rungs = [step(f, width or WIDTHS[0]) for f in features]
        allotments = [Allotment(step=rung, next_width=None, next_parameters=None) for rung in rungs]
        capacity = _capacity(features, allotments, backbone, out, [reason] * len(features))
        if limit is None or parameters(capacity) <= limit:
            return capacity
    return capacity


def parameters(capacity: Capacity) -> int:
    """All trainable parameters."""
    split = capacity.layers
    return split.feature_extraction + split.middle + split.output


def _execution(capacity: Capacity, work: Workload, envelope: Envelope, config: Config, machine: Machine) -> Execution:
    batch = config.training.batch_rows or _batch_rows(work.train_rows)
    batch = min(batch, work.train_rows)
    wanted = config.training.epochs or _epochs(work.train_rows)
    epochs = wanted
    if envelope.train_time_s is not None:
        affordable = int(envelope.train_time_s / epoch_seconds(capacity, batch, work, machine))
        epochs = max(min(wanted, MIN_EPOCHS), min(wanted, affordable))
    return Execution(
        device=machine.device,
        precision=machine.precision,
        batch_rows=batch,
        epochs=epochs,
        steps=epochs * -(-work.train_rows // batch),
        threads=machine.threads,
    )


def _batch_rows(rows: int) -> int:
    """Small tables want small steps; large ones throughput."""
    return 128 if rows < 5_000 else 256 if rows < 50_000 else 512  # noqa: PLR2004


def _epochs(rows: int) -> int:
    """Epochs of one training, so that small tables see enough steps."""
    return 60 if rows < 5_000 else 40 if rows < 20_000 else 24  # noqa: PLR2004


def _short(cost: Cost, envelope: Envelope, execution: Execution) -> str | None:
    """Which limit the cost exceeds, in words."""
    if envelope.parameters is not None and cost.parameters > envelope.parameters:
        return f"parameters={show_count(envelope.parameters)} where {show_count(cost.parameters)} are needed"
    if envelope.memory_bytes is not None and cost.memory_bytes > envelope.memory_bytes:
        return f"memory={show_bytes(envelope.memory_bytes)} where {show_bytes(cost.memory_bytes)} is needed"
    if envelope.train_time_s is not None and cost.train_time_s > envelope.train_time_s:
        return f"train_time={show_seconds(envelope.train_time_s)} where {execution.epochs} epochs take {show_seconds(cost.train_time_s)}"
    if envelope.latency_s is not None and cost.latency_s > envelope.latency_s:
        return f"latency={show_seconds(envelope.latency_s)} where {show_seconds(cost.latency_s)} is needed"
    return None


def _finish(
    attention: Attention,
    envelope: Envelope,
    allocation: Allocation,
    even: Capacity,
    backbone: _Backbone,
    execution: Execution,
    work: Workload,
    machine: Machine,
) -> Plan:
    features = attention.scores.problem.schema.features
    capacity = even
    if allocation == "attention" and (attention.temperature is not None or attention.round > 0):
        weights = [w.weight for w in attention.weights]
        per_width = _per_width(backbone)
        budget = sum(f.parameters for f in even.features)
        allotted = allocate([ladder(f) for f in features], weights, budget, per_width)
        assert allotted is not None, "the even split fits, so the first rungs do"
        reasons = [_reason(a, w, len(features)) for a, w in zip(allotted, weights, strict=True)]
        capacity = _capacity(features, allotted, backbone, work.outputs, reasons)
    return Plan(
        attention=attention,
        envelope=envelope,
        allocation=allocation,
        capacity=capacity,
        execution=execution,
        predicted=predict_cost(capacity, execution, work, machine),
        reasons=_reasons(capacity, even, backbone, execution, envelope, work, allocation),
    )


def _reason(allotment: Allotment, weight: float, features: int) -> str:
    ratio = weight * features
    lead = f"attention {weight:.1%}, {ratio:.1f}x the even share"
    if allotment.next_width is None:
        return f"{lead}; the widest rung"
    return (
        f"{lead}; width {allotment.next_width} would cost {show_count(allotment.next_parameters or 0)} parameters more"
    )


def _reasons(
    capacity: Capacity,
    even: Capacity,
    backbone: _Backbone,
    execution: Execution,
    envelope: Envelope,
    work: Workload,
    allocation: Allocation,
) -> tuple[str, ...]:
    total, split = parameters(capacity), capacity.layers
    even_width = even.features[0].width
    limit = "no limit" if envelope.parameters is None else f"a limit of {show_count(envelope.parameters)}"
    bound = (
        "which is as wide as pays"
        if even_width == EVEN_WIDTH
        else f"since width {WIDTHS[WIDTHS.index(even_width) + 1]} for all would exceed {limit}"
    )
    shares = ", ".join(
        f"{name} {getattr(split, part) / total:.0%}"
        for name, part in (("feature extraction", "feature_extraction"), ("middle", "middle"), ("output", "output"))
    )
    divided = (
        f"The even split would give every feature width {even_width}, {bound}; its {show_count(parameters(even))} parameters are what "
        + ("this control spends." if allocation == "even" else "attention divides anew.")
    )
    native = "computes natively" if execution.precision == "bfloat16" else "computes fastest"
    epochs = f"{execution.epochs} epochs of {show_count(work.train_rows)} rows"
    time = f", within {show_seconds(envelope.train_time_s)} by the measured step time" if envelope.train_time_s else ""
    return (
        divided,
        f"Layers: {shares}; the backbone is {backbone.blocks} x {backbone.width} with {backbone.members} members, the largest that fits.",
        f"Runs on {execution.device} with {execution.threads} threads in {execution.precision}, which this device {native}.",
        f"Steps of {execution.batch_rows} rows, {epochs}{time}.",
    )
