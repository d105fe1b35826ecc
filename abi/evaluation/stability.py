"""How steady attention is: fitted again to other draws of the training rows, and to noisy ones.

Resampling costs no pass over the rows, since counts are kept by row group: a random half of the groups gives scores of its
own, and its complement others. A half-sample lies as far from the whole on average as the whole lies from what another
draw of as many rows would give (McCarthy 1969, "Pseudo-replication: half samples").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.stats import rankdata

from abi.attention.simplex import distance
from abi.evaluation.perturb import NOISE, encoded, known, with_noise
from abi.evaluation.wording import noise_of
from abi.robustness import Stability, Strength
from abi.scoring import counts as counting
from abi.scoring.counts import Counts, group_of
from abi.scoring.score import bins_for, from_counts
from abi.scoring.terms import add as add_terms
from abi.scoring.terms import empty as no_terms
from abi.scoring.terms import from_counts as terms_from_counts
from abi.scoring.terms import from_label_counts, text_columns
from abi.scoring.text_bins import half_of
from abi.training.data_attention import data_weights, judged_temperature

if TYPE_CHECKING:
    from abi.config import Config, ScoringConfig
    from abi.data.columns import Columns, Vectors
    from abi.data.reader import Reader
    from abi.scoring.edges import Bins
    from abi.types import Attention, Scores

PAIRS: Final = 5
"""Halves of the row groups, each with its complement."""
NOISY: Final = 3
"""Draws of noise at each strength."""
MOST_ROWS: Final = 16_384
"""Rows that noise is put on; texts take longer."""
ENCODED_ROWS: Final = 512
"""The same where a pretrained encoder reads every changed text."""
TERMS: Final = 4096
TEXT_ROWS: Final = 4096
TEXT_PAIRS: Final = 2
Vector = Float[np.ndarray, " features"]


def stability(
    reader: Reader, attention: Attention, train: Columns, config: Config, vectors: Vectors | None = None
) -> tuple[Stability, ...]:
    """Rank correlation of scores and movement of attention, for features, then for the terms of each text.

    What moves is the attention in use: a refit multiplies each weight by what the data's own attention grew by, so that
    a model's moves of it stay. Where the even split is in use, which no data move, it is the data's attention itself.

    Args:
        reader: of the training rows, for the bins.
        attention: in use.
        train: all training rows.
        config: scoring, temperatures, seed.
        vectors: encode changed texts, where a feature is of a pretrained encoder.
    """
    bins = bins_for(reader, config.scoring, tail=bool(attention.tail))
    refits = _Refits(attention, bins, config, vectors)
    several = len(attention.scores.problem.schema.features) > 1
    found = [*refits.resampled(train), *refits.noisy(train)] if several else []
    for feature, place in text_columns(attention.scores.problem.schema).items():
        found += _terms(attention, feature, place, train, bins, config)
    return tuple(found)


class _Refits:
    """Attention of other rows."""

    def __init__(self, attention: Attention, bins: Bins, config: Config, vectors: Vectors | None) -> None:
        self.attention, self.bins, self.config, self.vectors = attention, bins, config, vectors
        self.problem = attention.scores.problem
        self.temperature = judged_temperature(attention, config)

    def resampled(self, train: Columns) -> Iterator[Stability]:
        counts = self._count(train)
        held = self._scores(counts)
        chosen = halves(self.config.scoring.groups, PAIRS, self.config.seed)
        labels = self.bins.target.labels is not None
        pairs = [(held, self._scores(_of_groups(counts, kept, labels))) for kept in chosen]
        yield self._against(pairs, "resampled", "random halves of the training rows", None)

    def noisy(self, train: Columns) -> Iterator[Stability]:
        schema, seen = self.problem.schema, known(train)
        most = MOST_ROWS if all(f.encoder is None for f in schema.features) else ENCODED_ROWS
        rows = _some(train, most, self.config.seed)
        for strength, noise in NOISE.items():
            pairs = []
            for draw in range(NOISY):
                noisy = encoded(with_noise(rows, schema, seen, noise, self.config.seed + draw), schema, self.vectors)
                kept = _in_their_halves(rows, noisy, list(text_columns(schema).values()))
                pairs.append(tuple(self._scores(self._count(part.take(kept))) for part in (rows, noisy)))
            yield self._against(pairs, "noise", noise_of(schema, strength), strength)

    def _count(self, rows: Columns) -> Counts:
        empty = counting.empty(self.bins, self.config.scoring.groups)
        return counting.add(empty, rows, self.problem.schema, self.bins)

    def _scores(self, counts: Counts) -> Scores:
        config = _of_size(self.config.scoring, counts)
        return from_counts(counts, self.bins, self.problem, config, tail=bool(self.attention.tail))

    def _weights(self, scores: Scores) -> Vector:
        given = self.attention
        return np.array(data_weights(scores, self.temperature, given.floor, given.cap, given.blend, given.tail))

    def _against(
        self, pairs: Sequence[tuple[Scores, ...]], kind: str, what: str, strength: Strength | None
    ) -> Stability:
        values, moves = [], []
        for before, after in pairs:
            own = self._weights(before)
            used = own if self.attention.even else np.array([w.weight for w in self.attention.weights])
            moves.append(moved(used, own, self._weights(after)))
            values.append((_values(before), _values(after)))
        return _summary(kind, what, strength, values, moves)


def halves(groups: int, pairs: int, seed: int) -> list[Int64[np.ndarray, " kept"]]:
    """Random halves of the groups, each followed by its complement."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(pairs):
        drawn = random.permutation(groups)
        found += [np.sort(drawn[: groups // 2]), np.sort(drawn[groups // 2 :])]
    return found


def moved(used: Vector, before: Vector, after: Vector) -> float:
    """Total variation from the weights in use to those with the data's change put on: a' ~ a * after / before."""
    asked = used * after / before
    return distance(used, asked / asked.sum())


def rank_correlation(first: Vector, second: Vector) -> float | None:
    """Spearman's; None where one does not vary."""
    ranks = [rankdata(first), rankdata(second)]
    if any(np.ptp(r) == 0 for r in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _values(scores: Scores) -> Vector:
    return np.array([f.score for f in scores.features])


def _in_their_halves(rows: Columns, noisy: Columns, texts: Sequence[int]) -> Bool[np.ndarray, " rows"]:
    """Rows whose texts are still put into bins by the model that did not see them (`abi.scoring.text_bins`)."""
    kept = np.ones(len(rows), dtype=bool)
    for place in texts:
        one, other = (
            np.array([*map(half_of, part.categorical[place].values), 0])[part.categorical[place].codes]
            for part in (rows, noisy)
        )
        kept &= one == other
    return kept


def _of_groups(counts: Counts, kept: Int64[np.ndarray, " kept"], labels: bool) -> Counts:
    """Counts of these row groups; of `labels` the last class is all rows."""
    tables = tuple(np.ascontiguousarray(table[:, kept]) for table in counts.tables)
    rows = tables[0][..., -1] if labels else tables[0]
    return Counts(int(rows.sum()), tables, counts.sample)


def _of_size(config: ScoringConfig, counts: Counts) -> ScoringConfig:
    return config.model_copy(update={"groups": counts.tables[0].shape[1]})


def _some(rows: Columns, most: int, seed: int) -> Columns:
    if len(rows) <= most:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False)))


def _terms(
    attention: Attention, feature: str, place: int, train: Columns, bins: Bins, config: Config
) -> Iterator[Stability]:
    """The same for a text's terms, whose attention is their share of all scores."""
    schema = attention.scores.problem.schema
    terms = attention.scores.terms_of(feature).terms[:TERMS]
    if len(terms) <= 1:
        return
    groups = group_of(train.row_numbers, config.scoring.groups)
    held = _term_scores(feature, place, train, bins, terms)
    tried = [
        _term_scores(feature, place, train.take(np.isin(groups, kept)), bins, terms)
        for kept in halves(config.scoring.groups, TEXT_PAIRS, config.seed)
    ]
    yield _of_terms(feature, held, tried, "resampled", "random halves of the training rows", None)
    rows = _some(train, TEXT_ROWS, config.seed)
    seen, held = known(train), _term_scores(feature, place, rows, bins, terms)
    for strength, noise in NOISE.items():
        noisy = with_noise(rows, schema, seen, noise, config.seed)
        tried = [_term_scores(feature, place, noisy, bins, terms)]
        yield _of_terms(feature, held, tried, "noise", noise_of(schema, strength), strength)


def _of_terms(
    feature: str, held: Vector, tried: Sequence[Vector], kind: str, what: str, strength: Strength | None
) -> Stability:
    weights = [scores / max(float(scores.sum()), 1e-300) for scores in (held, *tried)]
    moves = [distance(weights[0], other) for other in weights[1:]]
    found = _summary(kind, f"terms of {feature}: {what}", strength, [(held, other) for other in tried], moves)
    return replace(found, feature=feature)


def _term_scores(feature: str, place: int, rows: Columns, bins: Bins, terms: Sequence[str]) -> Vector:
    assert rows.target is not None
    column, target = rows.categorical[place], rows.target
    if bins.target.labels is not None:
        counted = add_terms(no_terms(len(terms), target.shape[1] + 1), column, target, terms)
        found = from_label_counts(feature, terms, counted)
    else:
        counted = add_terms(no_terms(len(terms), bins.target.size), column, bins.target.codes(target), terms)
        found = terms_from_counts(feature, terms, counted)
    score: Mapping[str, float] = dict(zip(found.terms, found.scores, strict=True))
    return np.array([score.get(term, 0.0) for term in terms])


def _summary(
    kind: str,
    what: str,
    strength: Strength | None,
    pairs: Sequence[tuple[Vector, Vector]],
    moves: Sequence[float],
) -> Stability:
    ranks = [rank for rank in (rank_correlation(*pair) for pair in pairs) if rank is not None]
    return Stability(
        kind=kind,  # type: ignore[arg-type]  # one of two
        what=what,
        refits=len(moves),
        rank=round(float(np.mean(ranks)), 9) if ranks else None,
        moved=round(float(np.mean(moves)), 9),
        moved_most=round(max(moves), 9),
        strength=strength,
    )
