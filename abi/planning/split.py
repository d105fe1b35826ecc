"""Rungs -> the capacity that they make, with the reason of each."""

from __future__ import annotations

from collections.abc import Sequence

from abi.families.sizes import multiply_accumulates
from abi.inputs.kind import Step
from abi.planning.allocate import Allotment
from abi.planning.backbone import Backbone, per_width_of, slices_of
from abi.planning.cost import Workload, layers, sequence_macs, total_width
from abi.planning.grids import grid_macs
from abi.problem import Feature
from abi.types import Attention, Capacity, FeatureCapacity
from abi.units import show_count


def capacity_of(
    features: Sequence[Feature],
    allotments: Sequence[Allotment],
    backbone: Backbone,
    out: int,
    reasons: Sequence[str],
    number: int | None = None,
) -> Capacity:
    """A network of `backbone` whose features have these rungs; `out` outputs; `number` of features where it is another."""
    width = sum(a.step.laid for a in allotments)
    encoders = sum(a.step.encoder_parameters for a in allotments)
    slices = max(1, slices_of(width, backbone, out))
    return Capacity(
        features=tuple(
            FeatureCapacity(
                feature=f.name,
                width=a.step.width,
                bins=a.step.bins,
                rows=a.step.rows,
                parameters=a.step.parameters(per_width_of(backbone, out)),
                reason=reason,
                shared=a.step.shared,
                entries=a.step.entries,
                start_entries=a.step.start_entries,
                grid=f.column if a.step.pooled or f.kind == "region" else None,
                length=a.step.length or None,
            )
            for f, a, reason in zip(features, allotments, reasons, strict=True)
        ),
        members=backbone.members,
        blocks=backbone.blocks,
        block_width=backbone.width,
        layers=layers(
            encoders, number or len(features), width, backbone.members, backbone.blocks, backbone.width, out, slices
        ),
        slices=slices if slices > 1 else None,
    )


def sketch_of(features: Sequence[Feature], rungs: Sequence[Step]) -> tuple[list[Feature], list[Step]]:
    """Features and rungs of a network of the same cost: what is neither text nor region counts by its width alone, as one.

    So a size can be tried in a time that does not grow with the columns.
    """
    apart = [
        r.entries > 0 or r.pooled or r.length > 0 or f.kind == "region" for f, r in zip(features, rungs, strict=True)
    ]
    kept = [(f, r) for f, r, alone in zip(features, rungs, apart, strict=True) if alone]
    others = [(f, r) for f, r, alone in zip(features, rungs, apart, strict=True) if not alone]
    if others:
        width, encoders = (sum(getattr(r, part) for _, r in others) for part in ("width", "encoder_parameters"))
        kept.append((others[0][0], Step(width=width, encoder_parameters=encoders)))
    return [f for f, _ in kept], [r for _, r in kept]


def attended(attention: Attention, allotted: Sequence[Allotment], backbone: Backbone, out: int) -> Capacity:
    """The capacity that these allotments make."""
    features = attention.scores.problem.schema.features
    reasons = [_reason(a, w.weight, len(features)) for a, w in zip(allotted, attention.weights, strict=True)]
    return capacity_of(features, allotted, backbone, out, reasons)


def macs_of(capacity: Capacity, work: Workload) -> int:
    """Multiply-accumulates of a row through the backbone and the encoders before it, with all its weights."""
    return (
        grid_macs(capacity)
        + sequence_macs(capacity)
        + multiply_accumulates(
            total_width(capacity), capacity.members, capacity.blocks, capacity.block_width, work.outputs
        )
    )


def curves_of(attention: Attention) -> list[tuple[float, ...]]:
    """What a trained model showed of each feature's widths; empty where nothing was measured."""
    return [f.curve for f in attention.scores.features]


def _reason(allotment: Allotment, weight: float, features: int) -> str:
    if not allotment.step.width and allotment.next_width is None:
        return "tells no more about the target than a shuffled target does, and gets nothing"
    if not allotment.step.width:
        return f"gets nothing: its first {show_count(allotment.next_parameters or 0)} parameters bring more elsewhere"
    ratio = weight * features
    lead = f"attention {weight:.1%}, {ratio:.1f}x the even share"
    if allotment.step.entries and allotment.step.width == 1:
        lead += f"; a value each for {show_count(allotment.step.entries)} terms"
        if allotment.next_width is not None:
            return f"{lead}, and more would cost {show_count(allotment.next_parameters or 0)} parameters"
    if allotment.next_width is None:
        return f"{lead}; the widest rung"
    return (
        f"{lead}; width {allotment.next_width} would cost {show_count(allotment.next_parameters or 0)} parameters more"
    )
