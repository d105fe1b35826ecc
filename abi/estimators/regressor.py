"""The scikit-learn regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from abi.estimators.base import AttentionBalanced, column_name
from abi.estimators.documentation import documented


@documented(metric='"rmse", "mae", "r2", or "auto": RMSE')
class AttentionBalancedRegressor(RegressorMixin, AttentionBalanced):  # type: ignore[misc] # scikit-learn has no types
    """Regressor whose capacity follows attention, inside an envelope."""

    def fit(self, X: Any, y: Any) -> AttentionBalancedRegressor:  # noqa: N803 - scikit-learn's name
        """Learn the values `y` of the rows of `X`.

        Raises:
            ValueError: the table, the values or a parameter cannot be used; PlanInfeasible (one too) names the smallest
                envelope that would do.
        """
        self._forget()
        self._expect_target(y)
        name = column_name(y)
        y = validate_data(self, y=y, y_numeric=True)
        self._fit(self._read(X, reset=True), pa.array(y.astype(np.float64)), "regression", name)
        return self

    def predict(self, X: Any) -> Float[np.ndarray, " rows"]:  # noqa: N803 - scikit-learn's name
        """The expected value, in y's unit."""
        return self._predicted(X)
