"""The scikit-learn regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from abi.estimators.base import AttentionBalanced, column_name


class AttentionBalancedRegressor(RegressorMixin, AttentionBalanced):  # type: ignore[misc] # scikit-learn has no types
    """Regressor whose capacity follows attention, inside an envelope.

    X may be a pandas or polars frame, an Arrow table or an array: numbers, categories, booleans and dates, missing
    values and, when predicting, categories that were never seen.

    Args:
        family: "network", "trees", "blend" of both, or "auto": what validation rows favour.
        parameters: most trainable parameters, such as 200_000 or "200k"; None is no limit, here and below.
        memory: most memory that training may add, such as "2GiB".
        train_time: most seconds for one training, such as 60 or "1min".
        latency: most seconds to predict one row, such as "2ms".
        rounds: most trainings; after each, attention moves to what the model showed, and the best one is kept.
        validation: share of the rows that decisions (temperature, early stopping, rounds) are made on.
        metric: "rmse", "mae", "r2", or "auto": RMSE.
        random_state: of the split and of training; equal numbers give equal models.
        n_jobs: processor threads, -1 for all; None is one for small tables and torch's own number for others.
        settings: any other setting of ``abi.yaml`` by its dotted name, such as {"attention.floor": 0.1}.
        verbose: write one line per step.

    Attributes:
        attention_: weight of each feature in the trained model; on the simplex.
        scores_: what each feature is worth by itself, with terms and intervals.
        plan_: the envelope divided: `capacity`, `execution`, `predicted` cost, `reasons`.
        rounds_: every training, with its history and measured cost.
        trained_: the best one of them, which is kept.
        model_: its model.
        feature_importances_: attention per column of X.
        n_iter_: epochs of the best round.
        n_features_in_: columns of X.
        feature_names_in_: their names, where X has text names.
    """

    def fit(self, X: Any, y: Any) -> AttentionBalancedRegressor:  # noqa: N803 - scikit-learn's name
        """Learn the values `y` of the rows of `X`.

        Raises:
            ValueError: the table, the values or a parameter cannot be used; PlanInfeasible (one too) names the smallest
                envelope that would do.
        """
        self._expect_target(y)
        name = column_name(y)
        y = validate_data(self, y=y, y_numeric=True)
        self._fit(self._read(X, reset=True), y.astype(np.float64), "regression", name)
        return self

    def predict(self, X: Any) -> Float[np.ndarray, " rows"]:  # noqa: N803 - scikit-learn's name
        """The expected value, in y's unit."""
        return self._predicted(X)
