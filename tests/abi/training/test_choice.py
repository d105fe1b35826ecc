"""The rules by which validation rows decide, with figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.outcomes import Candidate
from abi.training.choice import flattest, keep_again, pick_control, standings, trial_of
from abi.training.rescore import model_scores
from abi.types import Trial


def _trials(*evidence: tuple[float, float | None] | None) -> list[Trial]:
    plain = Trial(temperature=None, loss=0.0, metric=None)
    return [plain if e is None else replace(plain, gain=e[0], error=e[1]) for e in evidence]


def test_a_trial_keeps_the_paired_evidence(toy: Any) -> None:
    even = toy.attention(toy.problem({"x": "numeric"}))
    # differences 1 and 3: mean 2, deviation sqrt(2), error sqrt(2) / sqrt(2) = 1
    trial = trial_of(even, 1.5, None, np.array([1.0, 2.0]), np.array([2.0, 5.0]))
    assert (trial.gain, trial.error) == (2.0, pytest.approx(1.0))
    first = trial_of(even, 1.5, None, np.array([1.0, 2.0]), None)
    assert (first.gain, first.error) == (None, None)


@pytest.mark.parametrize(
    ("evidence", "caution", "chosen"),
    [
        ([None, (0.5, 0.25), (0.1, 0.25)], 1.0, 1),
        ([None, (0.5, 0.25), (0.3, 0.25)], 1.0, 2),
        ([None, (0.25, 0.25)], 1.0, 0),  # as much as the noise is not more than it
        ([None, (0.5, 0.25), (0.3, 0.25)], 3.0, 0),
        ([None, (0.1, 0.0)], 1.0, 1),
        ([None, (0.5, None)], 0.0, 0),  # one row
        ([], 1.0, 0),
    ],
)
def test_the_flattest_that_none_beats_by_more_than_noise(evidence: Any, caution: float, chosen: int) -> None:
    assert flattest(_trials(*evidence), caution) == chosen


def test_what_is_cheaper_may_cost_no_more_than_a_limit(toy: Any) -> None:
    """Of few rows two standard errors are wide; several steps each within the limit do not add up."""
    even = toy.attention(toy.problem({"a": "numeric"}))

    def tried(*losses: float) -> list[Any]:
        return [replace(trial_of(even, loss, None, np.zeros(2), None), gain=-0.1, error=1.0) for loss in losses]

    assert flattest(tried(0.5, 0.52), -2.0) == 1
    assert flattest(tried(0.5, 0.52), -2.0, 0.01) == 0
    assert flattest(tried(0.5, 0.508), -2.0, 0.01) == 1
    assert flattest(tried(0.5, 0.508, 0.516), -2.0, 0.01) == 1


def test_families_are_kept_again_from_what_was_recorded(toy: Any) -> None:
    losses = [np.array([1.0, 3.0]), np.array([0.5, 0.5])]
    found = standings(losses)
    # means 2 and 0.5; differences 0.5 and 2.5: mean 1.5, deviation sqrt(2), error 1
    assert found == [(2.0, 1.5, pytest.approx(1.0)), (0.5, 0.0, 0.0)]
    cost = toy.plan(toy.problem({"x": "numeric"})).predicted
    tried = [
        Candidate(family=family, loss=mean, metric=None, cost=cost, row_loss=mean, behind=behind, error=error)
        for family, (mean, behind, error) in zip(("trees", "network"), found, strict=True)
    ]
    assert keep_again(tried) == (
        1,
        "the network has the least validation loss, 75.0% less than the trees (1.5 standard errors)",
    )
    assert keep_again([replace(tried[0], row_loss=None), tried[1]]) is None


@pytest.mark.parametrize(
    ("losses", "plans", "expected"),
    [((), 2, (0, 7)), ((0.5, 0.4), 2, (1, 7)), ((0.5, 0.4, 0.3), 2, (0, 8)), ((0.5, 0.3, 0.3), 1, (0, 8))],
)
def test_the_controls_plan_and_first_seed(losses: Any, plans: int, expected: tuple[int, int]) -> None:
    assert pick_control(losses, plans, 7) == expected


def test_the_ablation_is_the_added_loss_with_its_interval(toy: Any) -> None:
    before = toy.scores(toy.problem({"x": "numeric", "y": "numeric"}), [0.5, 0.5])
    # two folds: x adds 0.1 and 0.3: mean 0.2, deviation 0.1 * sqrt(2), error 0.1; y nothing
    scores, shares = model_scores(before, np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([[0.1, 0.0], [0.3, 0.0]]), 8)
    x, y = scores.features
    assert x.ablation is not None
    assert y.ablation is not None
    assert (x.ablation.value, x.ablation.low, x.ablation.high) == pytest.approx((0.2, 0.004, 0.396))
    assert (y.ablation.value, y.ablation.low, y.ablation.high) == (0.0, 0.0, 0.0)
    assert [x.share, y.share] == shares.tolist() == [0.75, 0.25]  # half of what is even, half of what is x's alone
