"""Attention + envelope -> plan: the backbone, a width per feature, how it runs, what it will cost, and why."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from abi.errors import PlanInfeasible, UsageError, listed
from abi.families.sizes import COMMON, outputs
from abi.inputs import region
from abi.inputs.categorical import shares_rows
from abi.inputs.kind import EVEN_WIDTH, MAX_ROWS, Step
from abi.inputs.trunk import BASES
from abi.modality import modalities, modality_of
from abi.planning.allocate import Allotment
from abi.planning.backbone import FEW_MEMBERS, GOOD_WIDTH, Backbone, macs_per_width_of, single_texts, sizes_of
from abi.planning.cost import (
    Workload,
    epoch_seconds,
    parameters,
    predict_cost,
    sequence_room,
    start_parameters,
)
from abi.planning.decay import with_decay
from abi.planning.frugal import frugal_splits
from abi.planning.grids import levelled, with_grids
from abi.planning.ladder import EVEN_TEXT_WIDTH, ladder, step, widest
from abi.planning.machine import Machine
from abi.planning.margins import bounded, tightened
from abi.planning.recipe import TERM_DROPOUT, Recipe
from abi.planning.split import attended, capacity_of, curves_of, macs_of, sketch_of
from abi.planning.starting import LEAN_FACTOR, starting_recipe
from abi.planning.trail import Trail, TriedSize, TriedSplit
from abi.problem import Feature, Pretrained, Schema
from abi.types import Alignment, Allocation, Attention, Capacity, Cost, Envelope, Execution, Hardening, Plan
from abi.units import show_bytes, show_count, show_seconds

if TYPE_CHECKING:
    from abi.config import Config

MIN_EPOCHS: Final = 4
LEAST_PART: Final = 32
"""Rows: smaller micro-batches save little and cost much time."""
BOUND_EPOCHS: Final = 25
"""Least epochs of a network that is smaller than the rows ask for: it learns more slowly, and early stopping ends it."""
FEWER_ROWS: Final = (2048, 1024, 512, 256, 128, 64)
FEWER_TERMS: Final = tuple(int(MAX_ROWS * 0.9**k) for k in range(1, 62))
"""The same where there are texts alone that are single numbers: width takes no part of the envelope."""
"""Where no even split over all values fits, the most frequent ones alone have rows."""
COARSER: Final = 3
"""Of the sizes, every so many-th is tried with fewer rows."""
LEAN: Final = f"It is lean: at most {FEW_MEMBERS} ensemble members and encoders that learn at least {LEAN_FACTOR:g} times as fast as the backbone, where the settings leave that open."
MACS_SLACK: Final = 1.02
"""A frugal split may have another backbone, at no more than so many times the even split's multiply-accumulates."""


def make_plan(
    attention: Attention,
    envelope: Envelope,
    config: Config,
    machine: Machine,
    *,
    allocation: Allocation = "attention",
    train_rows: int,
    validation_rows: int,
    trail: Trail | None = None,
) -> Plan:
    """Divide the envelope.

    First the even split: the largest backbone and even width that fit. Its parameters and its cost are then what
    the attention's split may spend, so that it has no more parameters and, but for texts alone, no more
    multiply-accumulates (2% of slack; dropped weights do not count). Both train on the same schedule. What is tried on the
    way is left in `trail`.

    Raises:
        PlanInfeasible: nothing fits; the message names the smallest that would do.
        UsageError: modalities are to be aligned, and there is one alone.
    """
    trail = Trail(machine.solver) if trail is None else trail
    schema = attention.scores.problem.schema
    numeric = sum(f.kind == "numeric" for f in schema.features)
    alignment, spoken = config.training.aligned(), modalities(schema)
    if alignment is not None and len(spoken) == 1:
        msg = f"Expected features of several modalities (the table, a text, an image or sound column) for training.alignment={alignment.weight:g}, got {spoken[0]} alone: set it to 0."
        raise UsageError(msg)
    work = Workload(
        train_rows=train_rows,
        validation_rows=validation_rows,
        numeric=numeric,
        categorical=len(schema.features) - numeric,
        outputs=outputs(schema),
        terms=sum((sum(known.rows) / max(1, known.texts) for known in attention.scores.terms), start=0.0),
        hardening=config.training.hardening(),
        picture_bytes=sum(grid.channels * grid.height * grid.width for grid in schema.grids),
        pretrained=tuple(f.encoder for f in schema.features if f.encoder is not None),
        alignment=alignment,
        modalities=len(spoken),
        half_size=config.training.half_size,
        halved=_halved(schema, config.training.half_size),
    )
    start = starting_recipe(schema, train_rows, config.training, lean=attention.lean)
    trail.bins = start.bins
    terms = {t.feature: len(t.terms) for t in attention.scores.terms}
    limited = any(f.kind == "text" or shares_rows(f) for f in schema.features)
    sizes = list(sizes_of(start))
    bases = [b for b in sorted(BASES, reverse=True) if b <= start.base] if schema.grids else [0]
    if schema.grids and start.blocks == 0 and all(f.kind == "region" for f in schema.features):
        sizes = sizes[:1]  # nothing else has a width
    single = single_texts(work.outputs)
    tried = [(MAX_ROWS, *size, base) for base in bases for size in (sizes if base == bases[0] else sizes[::COARSER])]
    if limited:
        few = sizes[::COARSER] if start.blocks else [s for s in sizes if s[1] >= GOOD_WIDTH]
        fewer: tuple[int, ...] = FEWER_ROWS
        if single and all(f.kind == "text" for f in schema.features):
            few, fewer = sizes[-1:], FEWER_TERMS
        tried += [(most, *size, bases[-1]) for most in fewer for size in few]

    @functools.cache
    def rungs(width: int, most: int, base: int) -> list[Step]:
        """Of the even split at `width`, with rows for the `most` frequent values of a category."""
        return [
            step(f, widest(f, width), start.bins, terms.get(f.name, 0), most, base, single) for f in schema.features
        ]

    @functools.cache
    def sketches(width: int, most: int, base: int) -> tuple[list[Feature], list[Step]]:
        return sketch_of(schema.features, rungs(width, most, base))

    smallest: tuple[Cost, str] | None = None
    for most, backbone, width, base in tried:
        bound = (most, backbone, width, base) != tried[0]
        start = replace(start, base=base, compute=config.attention.compute)
        if bound and config.training.epochs is None:
            start = replace(start, epochs=max(start.epochs, BOUND_EPOCHS))
        features, sketched = sketches(width, most, base)
        sketch = with_grids(_even(features, sketched, backbone, work.outputs, len(schema.features)), schema, base)
        execution, cost, short = _fitting(sketch, start, work, envelope, machine)
        trail.sizes.append(TriedSize(backbone, width, most, cost, short))
        if short is None:
            even = with_grids(_even(schema.features, rungs(width, most, base), backbone, work.outputs), schema, base)
            return _finish(
                attention, envelope, allocation, even, backbone, start, execution, work, machine, most, bound, trail
            )
        smallest = (cost, short)
    assert smallest is not None
    cost, short = smallest
    if allocation == "attention" and attention.frugal:
        for capacity, backbone in frugal_splits(
            attention, start, work, envelope.parameters or cost.parameters, None, trail, larger=True
        ):
            execution, asked, lacking = _fitting(capacity, start, work, envelope, machine)
            trail.splits.append(TriedSplit(capacity, asked, lacking))
            if lacking is None:
                return _plan(attention, envelope, allocation, capacity, None, backbone, start, execution, work, machine)
    msg = (
        f"Expected an envelope that the smallest network for {len(schema.features)} features fits into, got {short}. The smallest that would do: "
        f"parameters={cost.parameters}, memory={math.ceil(cost.memory_bytes / 2**20)}MiB, train_time={math.ceil(cost.train_time_s)}s, latency={math.ceil(cost.latency_s * 1e3)}ms."
    )
    raise PlanInfeasible(msg, cost.parameters)


def _even(
    features: Sequence[Feature], rungs: Sequence[Step], backbone: Backbone, out: int, number: int | None = None
) -> Capacity:
    """The even split with these rungs; `number` of features where these stand for more."""
    reason = "the even split gives every feature the same width, or one unit per distinct value where it has fewer"
    allotments = [Allotment(step=rung, next_width=None, next_parameters=None) for rung in rungs]
    return capacity_of(features, allotments, backbone, out, [reason] * len(features), number)


def _fitting(
    capacity: Capacity, start: Recipe, work: Workload, envelope: Envelope, machine: Machine
) -> tuple[Execution, Cost, str | None]:
    """How it is trained, its cost at most, and the limit that this exceeds: where memory is short, in the largest parts that fit."""
    rows = min(start.batch_rows, work.train_rows)
    part: int | None = None
    while True:
        execution = _execution(capacity, start, work, envelope, machine, part)
        cost = _bound(capacity, execution, work, machine)
        short = _short(cost, envelope, execution)
        memory = envelope.memory_bytes is not None and cost.memory_bytes > envelope.memory_bytes
        if short is None or not memory or execution.part_rows <= LEAST_PART:
            return execution, cost, short
        part = -(-(part or rows) // 2)


def _bound(capacity: Capacity, execution: Execution, work: Workload, machine: Machine) -> Cost:
    return bounded(predict_cost(capacity, execution, work, machine), machine.margin("network"))


def _execution(
    capacity: Capacity, start: Recipe, work: Workload, envelope: Envelope, machine: Machine, part: int | None
) -> Execution:
    batch = min(start.batch_rows, work.train_rows)
    epochs = start.epochs
    if envelope.train_time_s is not None:
        limit = tightened(envelope, machine.margin("network")).train_time_s or 0.0
        affordable = int(limit / epoch_seconds(capacity, part or batch, work, machine))
        epochs = max(min(epochs, MIN_EPOCHS), min(epochs, affordable))
    return Execution(
        device=machine.device,
        precision=machine.precision,
        batch_rows=batch,
        epochs=epochs,
        steps=epochs * -(-work.train_rows // batch),
        threads=machine.threads,
        learning_rate=start.learning_rate,
        encoder_factor=start.encoder_factor,
        weight_decay=start.weight_decay,
        dropout=start.dropout,
        average=start.average,
        patience=start.patience,
        term_dropout=start.term_dropout
        or (TERM_DROPOUT if any(f.entries or f.length for f in capacity.features) or work.pretrained else 0.0),
        smoothing=start.smoothing,
        micro_batch=part,
        hardening=work.hardening,
        modality_dropout=start.modality_dropout or None,
        alignment=work.alignment,
        half_size=work.half_size or None,
    )


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
    backbone: Backbone,
    start: Recipe,
    execution: Execution,
    work: Workload,
    machine: Machine,
    most: int,
    bound: bool,
    trail: Trail,
) -> Plan:
    capacity, chosen = even, backbone
    if allocation == "attention" and not attention.even:
        budget = parameters(even)
        schema = attention.scores.problem.schema
        if attention.frugal:
            macs = MACS_SLACK * macs_of(even, work)
            for divided, other in frugal_splits(attention, start, work, budget, macs, trail, larger=bound):
                asked = _bound(divided, execution, work, machine)
                trail.splits.append(TriedSplit(divided, asked, _short(asked, envelope, execution)))
                if trail.splits[-1].short is None:
                    capacity, chosen = divided, other
                    break
        else:
            terms = {t.feature: len(t.terms) for t in attention.scores.terms}
            ladders = [
                ladder(
                    f,
                    start.bins,
                    terms=terms.get(f.name, 0),
                    most=most,
                    base=start.base,
                    single=single_texts(work.outputs),
                )
                for f in schema.features
            ]
            weights = [w.weight for w in attention.weights]
            room = max(1, sum(f.parameters for f in even.features))
            limit = max(1, sum(f.width for f in even.features if f.grid is None))
            limit += sequence_room(even, macs_per_width_of(backbone))
            found_ = trail.divide(backbone, work.outputs, ladders, weights, room, limit, curves_of(attention))
            assert found_ is not None, "the even split fits, so the first rungs do"
            capacity = with_grids(attended(attention, found_, backbone, work.outputs), schema, start.base)
        if schema.grids:
            capacity, execution = _levelled(capacity, attention, start.compute, execution, envelope, work, machine)
    return _plan(attention, envelope, allocation, capacity, even, chosen, start, execution, work, machine)


def _levelled(
    capacity: Capacity,
    attention: Attention,
    compute: float,
    execution: Execution,
    envelope: Envelope,
    work: Workload,
    machine: Machine,
) -> tuple[Capacity, Execution]:
    """Regions at the levels that attention gives them, in as many epochs as the envelope has time for.

    Less arithmetic can take longer, as regions of different levels are computed apart; where they would need half the
    epochs or break another limit, every region stays whole.
    """
    divided = levelled(capacity, attention, compute)
    cost = _bound(divided, execution, work, machine)
    limit = envelope.train_time_s
    if limit is not None and cost.train_time_s > limit:
        epochs = int(execution.epochs * limit / cost.train_time_s)
        if 2 * epochs < execution.epochs:
            return capacity, execution
        shorter = replace(execution, epochs=epochs, steps=execution.steps // execution.epochs * epochs)
        cost = _bound(divided, shorter, work, machine)
    else:
        shorter = execution
    return (divided, shorter) if _short(cost, envelope, shorter) is None else (capacity, execution)


def _plan(
    attention: Attention,
    envelope: Envelope,
    allocation: Allocation,
    capacity: Capacity,
    even: Capacity | None,
    backbone: Backbone,
    start: Recipe,
    execution: Execution,
    work: Workload,
    machine: Machine,
) -> Plan:
    decays = allocation == "attention" and start.weight_decay > 0
    schema = attention.scores.problem.schema
    held = attention.balance
    if held is not None:
        execution = replace(execution, balance=held.method)
    return Plan(
        attention=attention,
        envelope=envelope,
        allocation=allocation,
        capacity=fused(with_decay(capacity, attention, start.attended_decay) if decays else capacity, schema, start),
        execution=execution,
        predicted=predict_cost(capacity, execution, work, machine),
        reasons=(
            *_reasons(capacity, even, backbone, start, execution, envelope, work, allocation, machine),
            *(() if held is None else (f"Classes: {held.reason}.",)),
            *((LEAN,) if attention.lean else ()),
            *(() if work.alignment is None else (_aligned(work.alignment, capacity, schema),)),
            *(
                (f"Images are seen at half their size in the first {work.half_size:.0%} of training.",)
                if work.half_size
                else ()
            ),
        ),
    )


def fused(capacity: Capacity, schema: Schema, start: Recipe) -> Capacity:
    """Late fusion where it is asked for, there are several modalities, and a member for each."""
    late = start.fusion == "late" and 1 < len(modalities(schema)) <= capacity.members
    return replace(capacity, fusion="late") if late else capacity


def _reasons(
    capacity: Capacity,
    even: Capacity | None,
    backbone: Backbone,
    start: Recipe,
    execution: Execution,
    envelope: Envelope,
    work: Workload,
    allocation: Allocation,
    machine: Machine,
) -> tuple[str, ...]:
    total, split = start_parameters(capacity), capacity.layers
    even_width = 0 if even is None else max(f.width for f in even.features)
    limit = "" if envelope.parameters is None else f" of {show_count(envelope.parameters)}"
    texts = even is not None and all(f.entries for f in even.features if f.width)
    bound = (
        "for one output a term has one value"
        if texts and single_texts(work.outputs)
        else "wider brought nothing on validation rows"
        if even_width == (EVEN_WIDTH if start.blocks else EVEN_TEXT_WIDTH)
        else f"wider would exceed the limit{limit}"
        if envelope.parameters is not None
        else "no feature has more distinct values"
    )
    shares = ", ".join(
        f"{name} {getattr(split, part) / total:.0%}"
        for name, part in (("feature extraction", "feature_extraction"), ("middle", "middle"), ("output", "output"))
    )
    spent = "what this control spends" if allocation == "even" else "what attention divides anew"
    largest = backbone == Backbone(start.members, start.blocks, start.block_width)
    size = f"{backbone.blocks} x {backbone.width} with {backbone.members} members" if start.blocks else "the head alone"
    first = (
        "No even split fits; what attention asks for does."
        if even is None
        else f"The even split would give every feature width {even_width} ({bound}); its {show_count(parameters(even))} parameters are {spent}."
    )
    why = f"the size that {show_count(work.train_rows)} training rows ask for" if largest else "the largest that fits"
    fewer = (
        ""
        if execution.epochs == start.epochs
        else f", fewer than the usual {start.epochs} to stay within {show_seconds(envelope.train_time_s or 0) if machine.cluster is None else 'the envelope'}"
    )
    parts = (
        ""
        if execution.micro_batch is None or machine.cluster is not None
        else f", each in parts of {execution.micro_batch} to stay within {show_bytes(envelope.memory_bytes or 0)}"
    )
    average = f", weights averaged with decay {execution.average:g}" if execution.average else ""
    pruned = (
        ""
        if capacity.pruning is None
        else f" Training starts with these {show_count(total)} weights and drops the least useful ones, in whichever part, until {show_count(capacity.pruning.parameters)} are left."
    )
    runs = f"Runs on {execution.device} with {execution.threads} threads in {execution.precision}{', which this device computes natively' if execution.precision == 'bfloat16' else ''}."
    frozen = [
        f"A pretrained encoder of {show_count(e.parameters)} frozen parameters is counted in memory and latency, not among the parameters; {_latest(e)} is what its latency is planned for."
        for e in work.pretrained
    ]
    return (
        first,
        *frozen,
        f"Layers: {shares}; the backbone is {size}, {why}.{pruned}",
        *((runs,) if machine.cluster is None else ()),  # what is traced says where it runs
        *(() if work.hardening is None else (_hardened(work.hardening),)),
        f"{execution.epochs} epochs of {show_count(work.train_rows)} rows in steps of {execution.batch_rows}{parts}{fewer}; peak rate {execution.learning_rate:g}, {execution.encoder_factor:g}x for the encoders{average}.",
    )


def _halved(schema: Schema, half_size: float) -> tuple[str, ...]:
    """The columns whose images may be seen at half their size.

    Raises:
        UsageError: that is asked for, and there are none.
    """
    found = tuple(grid.column for grid in schema.grids if region.can_halve(grid))
    if half_size and not found:
        msg = f"Expected images whose sides are multiples of {2 * region.DEEPEST} times their regions along them for training.half_size={half_size:g}, got none: set it to 0."
        raise UsageError(msg)
    return found


def _aligned(alignment: Alignment, capacity: Capacity, schema: Schema) -> str:
    used = {f.feature for f in capacity.features if f.width}
    heard = list(dict.fromkeys(modality_of(f) for f in schema.features if f.name in used))
    if len(heard) == 1:
        return f"No modalities are aligned: {heard[0]} alone has a width."
    return f"{listed(heard)} are aligned in {COMMON} dimensions by a contrastive loss of weight {alignment.weight:g} at temperature {alignment.temperature:g}; its projections are not kept."


def _latest(encoder: Pretrained) -> str:
    """What takes an encoder longest."""
    sight = encoder.sight
    return (
        f"a text of {encoder.max_tokens} tokens"
        if sight is None
        else f"a picture of {sight.height} x {sight.width} pixels"
    )


def _hardened(given: Hardening) -> str:
    said = [
        f"{name} {value:g}"
        for name, value in (
            ("mixup for the tail" if given.remix else "mixup", given.mixup),
            ("corruption", given.corruption),
            ("missing features", given.missing),
        )
        if value
    ]
    if given.adversarial is not None:
        steps = f" in {given.steps} steps" if given.adversarial == "pgd" else ""
        said.append(f"{given.adversarial.upper()} of {given.size:.0%} of the embeddings' norm{steps} with {given.share:.0%} of the loss")  # fmt: skip
    return f"Hardened by {', '.join(said)}: a step takes {given.passes:.2g} times a plain one's time."
