"""The share of attention that the classes of the tail have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.attention.fit import fit, move
from abi.attention.terms import term_weights
from abi.config import AttentionConfig
from abi.frequency import Selection
from abi.training.data_attention import data_weights
from abi.types import Scores, TermScores

FREE = AttentionConfig(floor=0.0, cap=1.0, tail=0.3)


def _scores(toy: Any, values: list[float], *selected: dict[str, float]) -> Scores:
    problem = toy.problem({f"x{i}": "numeric" for i in range(len(values))})
    tail = tuple(Selection(place=i, rows=3, features=tuple(s.items())) for i, s in enumerate(selected))
    return replace(toy.scores(problem, values), tail=tail)


def test_each_class_of_the_tail_that_has_features_gives_the_same_share(toy: Any) -> None:
    # the first class asks for shares of 3/4 and 1/4, the second for all on x2, the third for nothing
    scores = _scores(toy, [0.5, 0.5, 0.5], {"x0": 0.3, "x1": 0.1}, {"x2": 0.01}, {})
    found = fit(scores, 1.0, FREE)
    assert [w.weight for w in found.weights] == pytest.approx(
        [0.7 / 3 + 0.3 * 0.375, 0.7 / 3 + 0.3 * 0.125, 0.7 / 3 + 0.15], abs=1e-12
    )
    assert found.tail == 0.3
    for w in found.weights:
        assert w.low < w.weight < w.high
    assert data_weights(scores, 1.0, found.floor, found.cap, None, found.tail) == tuple(w.weight for w in found.weights)


def test_the_even_split_has_none_of_it(toy: Any) -> None:
    scores = _scores(toy, [0.9, 0.1], {"x1": 0.2})
    assert fit(scores, None, FREE) == fit(scores, None, AttentionConfig(floor=0.0, cap=1.0))
    assert fit(scores, None, FREE).even


def test_without_it_or_without_a_selection_nothing_changes(toy: Any) -> None:
    plain = AttentionConfig(floor=0.0, cap=1.0)
    selected, silent = _scores(toy, [0.9, 0.1], {"x1": 0.2}), _scores(toy, [0.9, 0.1], {})
    assert fit(selected, 0.4, plain).weights == fit(silent, 0.4, FREE).weights
    assert "tail" not in fit(selected, 0.4, plain).to_json()
    assert "tail" not in fit(silent, 0.4, FREE).to_json()


def test_the_share_is_remembered_when_a_model_moves_attention(toy: Any) -> None:
    scores = _scores(toy, [0.9, 0.1], {"x1": 0.2})
    moved = move(fit(scores, 0.4, FREE), scores, np.array([0.5, 0.5]), FREE)
    assert moved.tail == 0.3


def test_terms_are_weighed_where_a_split_grades_them(toy: Any) -> None:
    problem = toy.problem({"t": "text"})
    terms = TermScores(
        feature="t", texts=9, terms=("a", "b"), rows=(5.0, 2.0), scores=(1.0, 0.0), errors=(0.1, 0.1), tail=(0.0, 1.0)
    )
    selection = Selection(place=0, rows=2, features=(), terms=(("t", ("b",)),))
    scores = replace(toy.scores(problem, [1.0]), terms=(terms,), tail=(selection,))
    graded = fit(scores, None, FREE, frugal=True)
    assert graded.tail == 0.3
    np.testing.assert_allclose(term_weights(graded, "t"), [0.7, 0.3])
    np.testing.assert_allclose(term_weights(fit(scores, None, FREE), "t"), [0.5, 0.5])  # the even split
