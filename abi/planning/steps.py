"""What each feature would get next: its price and what it is expected to bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from abi.families.sizes import outputs
from abi.inputs.kind import MAX_ROWS
from abi.planning.backbone import Backbone, per_width_of, single_texts
from abi.planning.knapsack import Knapsack, knapsack
from abi.planning.ladder import ladder
from abi.planning.split import curves_of
from abi.planning.trail import Solved, Trail
from abi.planning.trees import BYTES_PER_BIN
from abi.planning.worth import bins_worth, expected_gain, weights_of
from abi.types import Plan
from abi.values import Value

DIGITS: Final = 9
MOST_BINS: Final = 255


@dataclass(frozen=True, kw_only=True)
class NextStep(Value):
    """One feature's next rung.

    Attributes:
        feature: its name.
        part: "network" or "trees".
        unit: what rungs are of: width, cells of a text's table, or bins of trees.
        attention: of that part.
        now: what it has.
        next: what it would have; None on the last rung.
        parameters: more of them that this takes.
        memory_bytes: more memory that a tree's bins take; 0 in a network, whose memory follows its parameters.
        gain: share by which the expected gain grows.
        gain_per_unit: the same for 1,000 parameters, or a KiB of bins.
        why: no next step where there is none.
    """

    feature: str
    part: Literal["network", "trees"]
    unit: Literal["width", "cells", "bins"]
    attention: float
    now: int
    next: int | None
    parameters: int
    memory_bytes: int
    gain: float
    gain_per_unit: float
    why: str = ""


def next_steps(plan: Plan, trail: Trail) -> tuple[NextStep, ...]:
    """Of every feature, those first whose next unit brings most."""
    found = [*_of_network(plan, division(plan, trail)), *_of_trees(plan)]
    return tuple(sorted(found, key=lambda s: (s.part, -s.gain_per_unit, -s.attention, s.feature)))


def division(plan: Plan, trail: Trail) -> Solved | None:
    """The division that the plan's widths came of; of an even split, the widths as if they had been divided."""
    capacity = plan.capacity
    if capacity.empty:
        return None
    found = trail.of(capacity)
    if found is not None and _is_of(found, plan):
        return found
    features, scores = plan.attention.scores.problem.schema.features, plan.attention.scores
    terms = {t.feature: len(t.terms) for t in scores.terms}
    most = trail.sizes[-1].most if trail.sizes else MAX_ROWS
    out = outputs(scores.problem.schema)
    single = single_texts(out)
    ladders = [ladder(f, trail.bins, terms=terms.get(f.name, 0), most=most, single=single) for f in features]
    places = []
    for rungs, given in zip(ladders, capacity.features, strict=True):
        at = next((i for i, rung in enumerate(rungs) if rung.width == given.width), None)
        if at is None:
            return None
        places.append(at)
    backbone = Backbone(capacity.members, capacity.blocks, capacity.block_width)
    weights = [w.weight for w in plan.attention.weights]
    budget = sum(f.parameters for f in capacity.features)
    width = sum(f.width for f in capacity.features)
    sack = knapsack(ladders, weights, budget, per_width_of(backbone, out), width, curves_of(plan.attention))
    return Solved(backbone, sack, tuple(places))


def _is_of(solved: Solved, plan: Plan) -> bool:
    """Whether the plan has these widths; a text may have had more cells from what was left over."""
    rungs = [row[at] for row, at in zip(solved.sack.ladders, solved.places, strict=True)]
    return [r.width for r in rungs] == [f.width for f in plan.capacity.features]


def _of_network(plan: Plan, solved: Solved | None) -> list[NextStep]:
    if solved is None:
        return []
    sack, whole = solved.sack, expected_gain(plan)
    return [_step(plan, sack, i, at, whole) for i, at in enumerate(solved.places)]


def _step(plan: Plan, sack: Knapsack, i: int, at: int, whole: float) -> NextStep:
    weight, rungs = plan.attention.weights[i], sack.ladders[i]
    here = rungs[at]
    last = at + 1 >= len(rungs)
    price = 0 if last else sack.prices[i][at + 1] - sack.prices[i][at]
    gain = 0.0 if last or whole <= 0 else (sack.gains[i][at + 1] - sack.gains[i][at]) / whole
    above = None if last else rungs[at + 1]
    cells = here.entries > 0 or (above is not None and above.entries > 0)
    silent = last and here.width == 0
    return NextStep(
        feature=weight.feature,
        part="network",
        unit="cells" if cells else "width",
        attention=weight.weight,
        now=here.entries if cells else here.width,
        next=None if above is None else above.entries if cells else above.width,
        parameters=price,
        memory_bytes=0,
        gain=round(gain, DIGITS),
        gain_per_unit=round(1000 * gain / price, DIGITS) if price > 0 else 0.0,
        why="it tells no more than a shuffled target does" if silent else "it has the widest rung" if last else "",
    )


def _of_trees(plan: Plan) -> list[NextStep]:
    trees = plan.trees
    if trees is None:
        return []
    whole = bins_worth(plan.attention, trees)
    per_bin = trees.leaves * BYTES_PER_BIN
    features = plan.attention.scores.problem.schema.features
    found = []
    for known, weight, given in zip(features, weights_of(plan.attention, "trees"), trees.features, strict=True):
        top = MOST_BINS if given.treatment == "statistics" else min(MOST_BINS, known.distinct)
        last = given.bins >= top
        gain = 0.0 if last or whole <= 0 else weight.weight * (1 / given.bins - 1 / (given.bins + 1)) / whole
        found.append(
            NextStep(
                feature=given.feature,
                part="trees",
                unit="bins",
                attention=weight.weight,
                now=given.bins,
                next=None if last else given.bins + 1,
                parameters=0,
                memory_bytes=0 if last else per_bin,
                gain=round(gain, DIGITS),
                gain_per_unit=round(gain * 1024 / per_bin, DIGITS),
                why="each of its values has a bin"
                if last and top < MOST_BINS
                else "it has as many bins as there are"
                if last
                else "",
            )
        )
    return found


def by_feature(steps: Sequence[NextStep], feature: str) -> tuple[NextStep, ...]:
    """Those of one feature."""
    return tuple(s for s in steps if s.feature == feature)
