"""scikit-learn's own checks of an estimator, none of which is expected to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import abi

EXPECTED_FAILURES: dict[str, str] = {}
"""Name of a check -> why it may fail."""
SMALL = {"training.members": 4, "training.block_width": 32, "training.epochs": 40}


@parametrize_with_checks(
    [
        abi.AttentionBalancedClassifier(rounds=1, settings=SMALL),
        abi.AttentionBalancedRegressor(rounds=1, settings=SMALL),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_a_check_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", [abi.AttentionBalancedClassifier, abi.AttentionBalancedRegressor])
def test_the_checks_that_judge_quality_pass_with_the_default_settings(estimator: type[Any]) -> None:
    from sklearn.utils import estimator_checks as checks

    judge = checks.check_classifiers_train if hasattr(estimator, "predict_proba") else checks.check_regressors_train
    judge(estimator.__name__, estimator())
