"""Selection per class of the tail: the features and terms that tell one rare class from all other rows.

Scores over all classes go by what is told of most rows, so what tells a class of few rows has next to none: features of
easy classes crowd out those that hard ones need (Forman 2004, "A pitfall and solution in multi-class feature selection for
text classification", whose remedy deals out features to the classes by turns; ours gives each class the same share).

A feature is selected for a class where its relevance to "this class or not" is beyond what a shuffled target reaches, by
the test and false discovery rate that all features are held to; a term where it stands in more of the class's rows than
shuffled rows would have it, which is the hypergeometric distribution. Both read the counts that scoring keeps, so nothing
is read again and shards merge as ever.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float64, Int64
from scipy.stats import hypergeom

from abi.errors import UsageError
from abi.frequency import Selection, groups_of
from abi.scoring.null import discoveries, nulls
from abi.scoring.relevance import beyond_chance, entropy, expected_information, information
from abi.scoring.tail import LEAST_TERM_ROWS, TERMS, class_entropy, presence_information

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abi.config import ScoringConfig
    from abi.problem import Problem, Schema
    from abi.scoring.counts import Counts
    from abi.scoring.edges import Target
    from abi.scoring.terms import TermCounts
    from abi.types import Scores, TermScores

MANY_CLASSES: Final = 256
"""Classes that are told apart where the tail is asked for. The rarest of more are one, and nothing is selected for it."""
DIGITS: Final = 9


def expect_classes(schema: Schema) -> None:
    """Refuse a target without classes.

    Raises:
        UsageError: rows have a value, or any number of labels.
    """
    if schema.task not in {"binary", "multiclass"}:
        msg = f"Expected a target of classes for attention.tail, got task {schema.task}: leave it at 0."
        raise UsageError(msg)


def select_features(counts: Counts, target: Target, problem: Problem, config: ScoringConfig) -> tuple[Selection, ...]:
    """What is selected for each class of the tail that has rows, the rarest first; a class may have nothing.

    Args:
        counts: of all shards.
        target: its classes as they were counted.
        problem: schema, and the seed of the draws behind the null.
        config: shuffles and the false discovery rate.
    """
    assert target.lookup is not None
    told = counts.tables[0].sum(axis=(0, 1), dtype=np.int64)
    rare = _tail(told, target.lookup, problem.schema)
    if not rare:
        return ()
    columns = target.lookup[list(rare)]
    shares, p_values = np.zeros((2, len(rare), len(counts.tables)))
    for feature, table in enumerate(counts.tables):
        whole = table.sum(axis=1, dtype=np.int64).astype(np.float64)
        mine = whole[:, columns].T
        tables = np.stack([whole.sum(axis=1) - mine, mine], axis=-1)
        found, chance = information(tables), expected_information(tables)
        seeds = [(problem.split.seed, feature, place) for place in rare]
        shares[:, feature] = beyond_chance(found, chance, entropy(tables.sum(axis=1)))
        p_values[:, feature] = nulls(tables, found, chance, config.shuffles, seeds)[1]
    names = [f.name for f in problem.schema.features]
    return tuple(
        Selection(
            place=place,
            rows=int(told[columns[n]]),
            features=tuple((names[f], _rounded(shares[n, f])) for f in _best(shares[n], p_values[n], config)),
        )
        for n, place in enumerate(rare)
    )


def with_terms(
    scores: Scores,
    terms: Sequence[TermScores],
    counted: Mapping[str, tuple[Sequence[str], TermCounts]],
    target: Target,
    rate: float,
) -> Scores:
    """The scores with those of the terms, and in both what is selected for the classes of the tail among the terms.

    Args:
        scores: with what is selected among features.
        terms: of every text.
        counted: text -> its vocabulary and counts.
        target: its classes as they were counted.
        rate: the false discovery rate.
    """
    assert target.lookup is not None
    columns = [int(target.lookup[selection.place]) for selection in scores.tail]
    named: list[list[tuple[str, tuple[str, ...]]]] = [[] for _ in columns]
    weighed = []
    for known in terms:
        vocabulary, counts = counted[known.feature]
        worth = [_term_shares(counts, column, rate) for column in columns]
        for names, shares in zip(named, worth, strict=True):
            best = sorted(np.flatnonzero(shares).tolist(), key=lambda i: (-shares[i], vocabulary[i]))[:TERMS]
            if best:
                names.append((known.feature, tuple(vocabulary[i] for i in best)))
        some = [shares / shares.sum() for shares in worth if shares.any()]
        weight = dict(zip(vocabulary, np.mean(some, axis=0).tolist(), strict=True)) if some else {}
        own = np.array([weight[term] for term in known.terms], np.float32) if some else np.zeros(0, np.float32)
        weighed.append(replace(known, tail=tuple(own.tolist())))
    tail = tuple(replace(s, terms=tuple(names)) for s, names in zip(scores.tail, named, strict=True))
    return replace(scores, terms=tuple(weighed), tail=tail)


def _tail(told: Int64[np.ndarray, " counted"], lookup: Int64[np.ndarray, " classes"], schema: Schema) -> list[int]:
    """Classes of the tail as its metrics have it, the rarest first; without those that have no row or are counted as one."""
    alone = np.bincount(lookup, minlength=len(told))[lookup] == 1
    rows = np.where(alone, told[lookup], 0).tolist()
    outside = None if schema.out_of_scope is None else schema.classes.index(schema.out_of_scope)
    groups = groups_of(rows, outside)
    return [] if groups is None else sorted((i for i in groups.tail if rows[i]), key=lambda i: (rows[i], i))


def _best(
    shares: Float64[np.ndarray, " features"], p_values: Float64[np.ndarray, " features"], config: ScoringConfig
) -> list[int]:
    """The features that tell more than chance, the best first."""
    kept = np.flatnonzero(discoveries(p_values, config.significance) & (shares > 0)).tolist()
    return sorted(kept, key=lambda f: (-shares[f], f))


def _term_shares(counts: TermCounts, column: int, rate: float) -> Float64[np.ndarray, " terms"]:
    """Share of the class's entropy that each term tells by standing there; 0 where it is not selected."""
    mine, times = counts.table[:, column], counts.table.sum(axis=1)
    rows, size = int(counts.classes.sum()), int(counts.classes[column])
    p_values, shares = np.ones(len(mine)), np.zeros(len(mine))
    seen = np.flatnonzero((mine >= LEAST_TERM_ROWS) & (mine * rows > times * size))
    if size in {0, rows} or not len(seen):
        return shares
    p_values[seen] = hypergeom.sf(mine[seen] - 1, rows, size, times[seen])
    kept = np.flatnonzero(discoveries(p_values, rate))
    told = presence_information(mine[kept], times[kept], float(size), float(rows)) / class_entropy(size / rows)
    shares[kept] = np.maximum(told, 0.0)
    return shares


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
