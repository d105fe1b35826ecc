"""Attention + envelope -> boosted trees: rounds, leaves, bins and contribution per feature, what they cost, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from abi.errors import PlanInfeasible
from abi.planning.machine import Machine
from abi.planning.margins import bounded, tightened
from abi.problem import Feature, Task
from abi.trees_capacity import Pair, TreeFeature, TreePair, TreesCapacity
from abi.types import Allocation, Attention, Cost, Envelope
from abi.units import show_bytes, show_count, show_seconds, six_digits

if TYPE_CHECKING:
    from abi.recipes import TreesConfig

Treatment = Literal["numeric", "categories", "statistics"]

ID_VALUES: Final = 64
"""A categorical feature with more values than this may go in as target statistics."""
LEAST_BINS: Final = 8
LEAST_CONTRIBUTION: Final = 0.02
LEAST_ROUNDS: Final = 60
"""Trees are made smaller before there are fewer rounds than this."""
LEAVES: Final = (255, 127, 63, 31, 15, 7, 4, 3, 2)
USUAL_SHARE: Final = 0.3
"""Boosting usually stops early, near this share of the most rounds; with fewer rounds than that the rate grows."""
FASTEST_RATE: Final = 0.3
SMALL_ROWS: Final = 3_000
LARGE_ROWS: Final = 50_000

FIXED_BYTES: Final = 2**18
"""What LightGBM keeps of the smallest table."""
BYTES_PER_BIN: Final = 16
"""Sums of gradients and of their second derivatives: two doubles."""
CELL_S: Final = 1.2e-8
"""Seconds per row, column and round with 31 leaves on one core of the machines that this was measured on."""
CELLS_OF_THREADS: Final = 1_000_000
"""Rows times columns from which several threads pay off."""
ROUND_S: Final = 4e-4
CALL_S: Final = 2.5e-4
TREE_S: Final = 4e-7
"""Per tree and row predicted alone."""
PAIR_S: Final = 2.4e-5
"""Per pair of categories that is looked up for one row: of 45 1.25 ms in place of 0.17."""
PAIR_ROW_S: Final = 6e-7
"""Per pair and training row: its statistics, of all rows and of the other folds."""
PAIR_BYTES: Final = 48
"""Per number in a pair's table beside the 16 of any parameter: Python's numbers, and what sorting leaves for a while."""


@dataclass(frozen=True, kw_only=True)
class TreesWork:
    """How much data the trees are grown on; `columns` of the matrix, `outputs` trees per round."""

    train_rows: int
    validation_rows: int
    columns: int
    outputs: int
    pairs: int = 0
    pair_numbers: int = 0


@dataclass(frozen=True)
class TreesPlan:
    """A size with its predicted cost and the reasons."""

    capacity: TreesCapacity
    predicted: Cost
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Recipe:
    rounds: int
    leaves: int
    learning_rate: float
    least_rows: int
    feature_share: float
    row_share: float
    patience: int


def plan_trees(
    attention: Attention,
    envelope: Envelope,
    settings: TreesConfig,
    machine: Machine,
    *,
    allocation: Allocation,
    train_rows: int,
    validation_rows: int,
) -> TreesPlan:
    """Divide the envelope between the trees' features.

    First the even twin: every feature the same bins and contribution. Attention then has the same rounds and leaves and
    at most the same sum of bins, and only their division differs.

    Args:
        attention: the trees' own is taken where there is one.
        envelope: limits; parameters and time bound the rounds and leaves, memory the bins.
        settings: what a user fixed.
        machine: threads.
        allocation: "even" is the uniform control.
        train_rows: rows to grow on.
        validation_rows: rows that stop the growing.

    Raises:
        PlanInfeasible: nothing fits; the message names the smallest that would do.
    """
    schema = attention.scores.problem.schema
    statistics = attention.trees is not None and attention.trees.statistics
    pairs = attention.trees.pairs if attention.trees is not None else ()
    outputs = len(schema.classes) if schema.task == "multiclass" else 1
    treatments = [treatment(f, statistics) for f in schema.features]
    per_statistic = max(1, len(schema.classes) - 1) + 1
    columns = sum(per_statistic if t == "statistics" else 1 for t in treatments) + len(pairs) * per_statistic
    work = TreesWork(
        train_rows=train_rows,
        validation_rows=validation_rows,
        columns=columns,
        outputs=outputs,
        pairs=len(pairs),
        pair_numbers=sum(pair.values * per_statistic for pair in pairs),
    )
    tables = sum(
        f.distinct * per_statistic for f, t in zip(schema.features, treatments, strict=True) if t == "statistics"
    )
    tables += work.pair_numbers
    start = _recipe(train_rows, schema.task, settings)
    short = ""
    smallest: Cost | None = None
    margin = machine.margin("trees")
    limits = tightened(envelope, margin)
    for rounds, leaves, bins in _sizes(start, settings.bins, work, limits, tables, machine):
        even = [_even_bins(f, t, bins) for f, t in zip(schema.features, treatments, strict=True)]
        parameters = rounds * outputs * (2 * leaves - 1) + tables
        spent = sum(even) + len(pairs) * per_statistic * bins
        cost = _cost(work, rounds, leaves, spent, parameters, machine)
        short = _short(bounded(cost, margin), envelope)
        if short:
            smallest = bounded(cost, margin)
            continue
        usual = max(1.0, USUAL_SHARE * start.rounds / rounds)
        rate = max(start.learning_rate, min(FASTEST_RATE, start.learning_rate * usual))
        divided = _divide(attention, allocation, schema.features, treatments, even)
        capacity = TreesCapacity(
            features=divided,
            rounds=rounds,
            leaves=leaves,
            learning_rate=float(f"{rate:.4g}"),
            least_rows=start.least_rows,
            feature_share=start.feature_share,
            row_share=start.row_share,
            patience=start.patience,
            parameters=parameters,
            pairs=_pairs(pairs, schema.features, divided, bins),
        )
        return TreesPlan(capacity, cost, _reasons(capacity, start, envelope, sum(even), work))
    assert smallest is not None
    msg = (
        f"Expected an envelope that the smallest trees for {len(schema.features)} features fit into, got {short}. The smallest that would do: "
        f"parameters={smallest.parameters}, memory={math.ceil(smallest.memory_bytes / 2**20)}MiB, train_time={math.ceil(smallest.train_time_s)}s, latency={math.ceil(smallest.latency_s * 1e3)}ms."
    )
    raise PlanInfeasible(msg)


def _pairs(
    pairs: Sequence[Pair], features: Sequence[Feature], divided: Sequence[TreeFeature], bins: int
) -> tuple[TreePair, ...]:
    """Each has the bins of the even twin; a split on it counts as much as on its two features, in the geometric mean."""
    of = {f.name: given.contribution for f, given in zip(features, divided, strict=True)}
    return tuple(
        TreePair(
            features=pair.features,
            values=pair.values,
            bins=bins,
            contribution=float(f"{math.sqrt(of[pair.features[0]] * of[pair.features[1]]):.4g}"),
        )
        for pair in pairs
    )


def treatment(feature: Feature, statistics: bool) -> Treatment:
    """How a feature's values go in."""
    if feature.kind == "numeric":
        return "numeric"
    return "statistics" if statistics and feature.distinct > ID_VALUES else "categories"


def has_ids(features: Sequence[Feature]) -> bool:
    """Whether any feature has so many values that target statistics are worth a trial."""
    return any(f.kind != "numeric" and f.distinct > ID_VALUES for f in features)


def _recipe(rows: int, task: Task, settings: TreesConfig) -> _Recipe:
    """Chosen by the loss on validation rows that did not stop the growing, on eight open tables with two splits each.

    A low rate without sampling did best overall; sampled features helped adult (0.9%) and cost phoneme and mammography
    up to 6%. With many classes or rows a higher rate saves time and loses little.
    """
    small = rows < SMALL_ROWS
    chosen = _Recipe(
        rounds=400 if small else 1000,
        leaves=15 if small else 31,
        learning_rate=0.1 if task == "multiclass" or rows >= LARGE_ROWS else 0.05,
        least_rows=20,
        feature_share=1.0,
        row_share=1.0,
        patience=40 if small else 30,
    )
    return _Recipe(
        rounds=settings.rounds or chosen.rounds,
        leaves=settings.leaves or chosen.leaves,
        learning_rate=settings.learning_rate or chosen.learning_rate,
        least_rows=chosen.least_rows,
        feature_share=chosen.feature_share,
        row_share=chosen.row_share,
        patience=settings.patience or chosen.patience,
    )


def _sizes(
    start: _Recipe, bins: int, work: TreesWork, envelope: Envelope, tables: int, machine: Machine
) -> Iterator[tuple[int, int, int]]:
    """(rounds, leaves, bins) from the recipe's size down: fewer bins before smaller trees, these before few rounds."""
    leaves_down = [start.leaves, *(n for n in LEAVES if n < start.leaves)]
    ladder = [b for b in (bins, 127, 63, 31, 15) if b <= bins]
    for least in (min(LEAST_ROUNDS, start.rounds), 1):
        for leaves in leaves_down:
            rounds = min(start.rounds, _most_rounds(leaves, work, envelope, tables, machine))
            if rounds >= least:
                yield from ((rounds, leaves, held) for held in ladder)
    yield 1, 2, ladder[-1]


def _most_rounds(leaves: int, work: TreesWork, envelope: Envelope, tables: int, machine: Machine) -> int:
    most = math.inf
    if envelope.parameters is not None:
        most = min(most, (envelope.parameters - tables) / (work.outputs * (2 * leaves - 1)))
    if envelope.train_time_s is not None:
        left_s = envelope.train_time_s - PAIR_ROW_S * work.pairs * work.train_rows
        most = min(most, left_s / _round_seconds(work, leaves, machine))
    if envelope.latency_s is not None:
        most = min(most, (envelope.latency_s - CALL_S - PAIR_S * work.pairs) / (TREE_S * work.outputs))
    return int(max(0, min(most, 2**31)))


def _round_seconds(work: TreesWork, leaves: int, machine: Machine) -> float:
    depth = math.log2(leaves + 1) / 5
    cells = work.train_rows * work.columns * work.outputs
    return ROUND_S * work.outputs + cells * CELL_S * depth / threads_for(
        work.train_rows * work.columns, machine.threads
    )


def threads_for(cells: int, threads: int) -> int:
    """One thread where a round's work is small: several wait for each other longer than they compute."""
    return threads if cells >= CELLS_OF_THREADS else 1


def _cost(work: TreesWork, rounds: int, leaves: int, bins: int, parameters: int, machine: Machine) -> Cost:
    rows = work.train_rows + work.validation_rows
    cells = rows * work.columns * (8 + 1)  # the matrix, and its bins in a byte each
    gradients = rows * work.outputs * (2 * 4 + 8)
    histograms = leaves * bins * BYTES_PER_BIN
    return Cost(
        parameters=parameters,
        memory_bytes=int(
            FIXED_BYTES + cells + gradients + histograms + 16 * parameters + PAIR_BYTES * work.pair_numbers
        ),
        train_time_s=six_digits(
            PAIR_ROW_S * work.pairs * work.train_rows + rounds * _round_seconds(work, leaves, machine)
        ),
        latency_s=six_digits(CALL_S + PAIR_S * work.pairs + TREE_S * rounds * work.outputs),
    )


def _short(cost: Cost, envelope: Envelope) -> str:
    """Which limit the cost exceeds, in words; empty where it fits."""
    for name, show in (
        ("parameters", show_count),
        ("memory_bytes", show_bytes),
        ("train_time_s", show_seconds),
        ("latency_s", show_seconds),
    ):
        limit, needed = getattr(envelope, name), getattr(cost, name)
        if limit is not None and needed > limit:
            return f"{name.removesuffix('_bytes').removesuffix('_s')}={show(limit)} where {show(needed)} are needed"
    return ""


def _even_bins(feature: Feature, treated: str, bins: int) -> int:
    """As many as the even twin's, or one per distinct value where the feature has fewer."""
    return bins if treated == "statistics" else max(2, min(bins, feature.distinct))


def _divide(
    attention: Attention,
    allocation: Allocation,
    features: Sequence[Feature],
    treatments: Sequence[Treatment],
    even: Sequence[int],
) -> tuple[TreeFeature, ...]:
    own = attention.trees
    weights = [w.weight for w in (own.weights if own is not None else attention.weights)]
    temperature = own.temperature if own is not None else attention.temperature
    flat = allocation == "even" or (temperature is None and attention.round == 0)
    bins = (
        list(even)
        if flat
        else share_bins(weights, even, [_even_bins(f, t, 255) for f, t in zip(features, treatments, strict=True)])
    )
    top = max(weights)
    result = []
    for f, treated, w, b in zip(features, treatments, weights, bins, strict=True):
        contribution = 1.0 if flat else max(LEAST_CONTRIBUTION, w / top)
        reason = (
            "the even split gives every feature the same bins and contribution"
            if flat
            else f"attention {w:.1%}, {w * len(weights):.1f}x the even share: a split counts {contribution:.0%} of its gain"
        )
        result.append(
            TreeFeature(
                feature=f.name, bins=b, contribution=float(f"{contribution:.4g}"), treatment=treated, reason=reason
            )
        )
    return tuple(result)


def share_bins(weights: Sequence[float], even: Sequence[int], most: Sequence[int]) -> list[int]:
    """Bins in proportion to the square root of attention, within their caps and the even twin's sum.

    Square roots, because the gain of finer bins falls off: at a fixed sum of 128 bins they took california_housing from
    an error of 50,970 to 48,840.

    Args:
        weights: attention per feature.
        even: bins of the even twin; their sum is what may be spent.
        most: bins that a feature can use at most.
    """
    total = sum(even)
    fixed: dict[int, int] = {}
    free = list(range(len(even)))
    roots = [math.sqrt(w) for w in weights]
    floors = [min(LEAST_BINS, e) for e in even]
    while free:
        left = total - sum(fixed.values())
        scale = left / sum(roots[i] for i in free)
        asked = {i: roots[i] * scale for i in free}
        over = {i: most[i] for i in free if asked[i] >= most[i]}
        under = {i: floors[i] for i in free if asked[i] <= floors[i]}
        # the side with the larger excess is settled first, so that the sum is kept
        gain = sum(asked[i] - most[i] for i in over)
        need = sum(floors[i] - asked[i] for i in under)
        settled = over if gain >= need else under
        if not settled:
            return [fixed[i] if i in fixed else max(floors[i], int(asked[i])) for i in range(len(even))]
        fixed |= settled
        free = [i for i in free if i not in fixed]
    return [fixed[i] for i in range(len(even))]


def _reasons(
    capacity: TreesCapacity, start: _Recipe, envelope: Envelope, bins: int, work: TreesWork
) -> tuple[str, ...]:
    limit = "" if envelope.parameters is None else f" of {show_count(envelope.parameters)}"
    whole = capacity.rounds == start.rounds and capacity.leaves == start.leaves
    why = (
        f"what {show_count(work.train_rows)} training rows ask for"
        if whole
        else f"the most that the envelope{limit} holds"
    )
    spent = sum(f.bins for f in capacity.features)
    ids = sum(f.treatment == "statistics" for f in capacity.features)
    means = f"; {ids} of many values as target statistics" if ids else ""
    if capacity.pairs:
        means += f", and {len(capacity.pairs)} pair{'s' if len(capacity.pairs) > 1 else ''} of categories with {show_count(sum(pair.values for pair in capacity.pairs))} values"
    return (
        f"Trees: at most {capacity.rounds} rounds of {work.outputs if work.outputs > 1 else 'one'} tree{'s' if work.outputs > 1 else ''} with {capacity.leaves} leaves, {why}; rate {capacity.learning_rate:g}, stopped after {capacity.patience} rounds without a better validation loss.",
        f"The trees' features share {show_count(spent)} bins of the even twin's {show_count(bins)}{means}.",
    )
