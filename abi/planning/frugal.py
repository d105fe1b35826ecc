"""Splits that give features without signal nothing, and those that start larger and lose weights while they train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from abi.inputs import embedding
from abi.inputs.categorical import shares_rows
from abi.inputs.kind import Step
from abi.inputs.text import TEXT_CELLS, with_cells
from abi.planning.allocate import Allotment
from abi.planning.backbone import (
    FEW_MEMBERS,
    GOOD_WIDTH,
    MOST_SLICES,
    Backbone,
    backbones_of,
    per_width_of,
    single_texts,
)
from abi.planning.cost import Workload, layers, start_parameters, total_width
from abi.planning.grids import sized, with_grids
from abi.planning.ladder import NOTHING, ladder
from abi.planning.recipe import Recipe
from abi.planning.split import attended, curves_of, macs_of
from abi.planning.trail import Trail
from abi.problem import Kind
from abi.types import Attention, Capacity, Pruning

STARTS: Final = (4, 2)
"""A frugal network starts training with up to so many times the weights that it ends with,"""
WORTH_PRUNING: Final = 1.5
"""unless one of fewer times its final size is already the largest that the rows ask for."""
FIXED_SHARE: Final = 0.4
"""Of the parameters that are left, what no training drops (biases, adapters, texts) may be this much."""


def frugal_splits(
    attention: Attention, start: Recipe, work: Workload, budget: int, macs: float | None, trail: Trail, *, larger: bool
) -> Iterator[tuple[Capacity, Backbone]]:
    """Capacities of `budget` parameters and `macs` multiply-accumulates, in order of preference.

    First, where attention is pruned and the rows ask for a `larger` network than fits, such as start larger and lose
    weights while they train; then such as train whole.
    """
    kinds = [f.kind for f in attention.scores.problem.schema.features]
    smaller = replace(start, members=min(start.members, FEW_MEMBERS))
    schema = attention.scores.problem.schema
    shared = bool(schema.grids) or any(f.words for f in schema.features)  # weights that many places of an input use
    if start.blocks and attention.pruned and larger and not shared:
        for times in STARTS:
            for backbone, allotted in _divide(attention, smaller, work, times * budget, None, trail):
                whole = attended(attention, allotted, backbone, work.outputs)
                if start_parameters(whole) < WORTH_PRUNING * budget:
                    break
                if _undroppable(whole, kinds, work.outputs) <= FIXED_SHARE * budget:
                    most = macs_of(whole, work) if macs is None else int(macs)
                    yield replace(whole, pruning=Pruning(parameters=budget, macs=most)), backbone
                    break
    ids = any(shares_rows(f) for f in schema.features)
    whole_start = smaller if larger and not ids else start
    for backbone, allotted in _divide(attention, whole_start, work, budget, macs, trail):
        yield with_grids(attended(attention, allotted, backbone, work.outputs), schema, start.base), backbone


def _divide(
    attention: Attention, start: Recipe, work: Workload, budget: int, macs: float | None, trail: Trail
) -> Iterator[tuple[Backbone, tuple[Allotment, ...]]]:
    """Frugal splits of `budget` parameters and `macs` multiply-accumulates per row, broadest backbone first.

    A backbone is passed over while the features that get something would have less than `GOOD_WIDTH` on average; the
    last that fits at all comes in the end. Where none holds all features that carry signal, some of these get nothing, on
    the narrowest backbones first. None where no feature carries signal.
    """
    scores = attention.scores
    features, out = scores.problem.schema.features, work.outputs
    terms = {t.feature: len(t.terms) for t in scores.terms}
    silent = [not f.carries_signal for f in scores.features]
    if all(silent):
        return
    sliced = not start.blocks and start.members == 1 and out > 1
    single = single_texts(out)
    ladders = [
        (NOTHING,)
        if none
        else ladder(
            f, start.bins, frugal=True, terms=terms.get(f.name, 0), base=start.base, sliced=sliced, single=single
        )
        for f, none in zip(features, silent, strict=True)
    ]
    weights = [0.0 if none else w.weight for w, none in zip(attention.weights, silent, strict=True)]
    trunks = sized(scores.problem.schema, start.base)
    budget -= sum(size.parameters for size in trunks)
    macs = None if macs is None else macs - sum(size.predicted_macs for size in trunks)

    def allotted(backbone: Backbone, rungs: Sequence[Sequence[Step]]) -> tuple[Allotment, ...] | None:
        fixed = layers(0, len(features), 0, backbone.members, backbone.blocks, backbone.width, out)
        left = budget - fixed.feature_extraction - fixed.middle - fixed.output
        if sliced and left > TEXT_CELLS[-1]:
            left -= 2 * (MOST_SLICES - 1) * out  # each head has its own bias, and the last ones a dimension more
        room = None
        if macs is not None and backbone.blocks:
            room = int(macs / backbone.members / backbone.width - (backbone.blocks - 1) * backbone.width - out)
        if left <= 0 or (room is not None and room <= 0):
            return None
        found = trail.divide(backbone, out, rungs, weights, left, room, curves_of(attention))
        if found is None or not any(a.step.width for a in found):
            return None
        return _filled(found, left, per_width_of(backbone, out))

    narrow: list[tuple[Backbone, tuple[Allotment, ...]]] = []
    fits = False
    for backbone in backbones_of(start):
        filled = allotted(backbone, ladders)
        if filled is None:
            continue
        fits = True
        active = [a for a in filled if a.step.width]
        if sum(a.step.width for a in active) >= GOOD_WIDTH * len(active) or not backbone.blocks:
            yield backbone, filled
        else:
            narrow.append((backbone, filled))
    yield from narrow
    if fits:
        return
    some = [rungs if rungs == (NOTHING,) else (NOTHING, *rungs) for rungs in ladders]
    for backbone in reversed(backbones_of(start)):
        filled = allotted(backbone, some)
        if filled is not None:
            yield backbone, filled


def _undroppable(capacity: Capacity, kinds: Sequence[Kind], out: int) -> int:
    """Parameters of attention, adapters, biases, texts and layers over pretrained encoders."""
    members = capacity.members
    projected = [f for f, kind in zip(capacity.features, kinds, strict=True) if kind == "embedding"]
    whole = sum(f.entries for f in capacity.features) + sum(embedding.parameters(f.width, f.rows) for f in projected)
    biases = capacity.blocks * capacity.block_width + members * out
    return len(capacity.features) + members * total_width(capacity) + biases + whole


def _filled(allotted: Sequence[Allotment], budget: int, per_width: int) -> tuple[Allotment, ...]:
    """Texts take what the rungs left over, in cells."""
    texts = [i for i, a in enumerate(allotted) if a.step.entries]
    left = budget - sum(a.step.parameters(per_width) for a in allotted)
    result = list(allotted)
    for i in texts:
        if allotted[i].next_width is not None:
            result[i] = replace(allotted[i], step=with_cells(allotted[i].step, left // len(texts)))
    return tuple(result)
