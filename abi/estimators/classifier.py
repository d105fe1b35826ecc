"""The scikit-learn classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from abi.errors import DataError, listed
from abi.estimators.base import AttentionBalanced, column_name
from abi.estimators.documentation import documented


@documented(
    metric='"roc_auc", "accuracy", "balanced_accuracy", "f1_macro", "log_loss", or "auto": ROC AUC for two classes, else accuracy',
    classes_="the labels, sorted, as they came",
)
class AttentionBalancedClassifier(ClassifierMixin, AttentionBalanced):  # type: ignore[misc] # scikit-learn has no types
    """Classifier whose capacity follows attention, inside an envelope."""

    classes_: Shaped[np.ndarray, " classes"]

    def fit(self, X: Any, y: Any) -> AttentionBalancedClassifier:  # noqa: N803 - scikit-learn's name
        """Learn the labels `y` of the rows of `X`.

        Raises:
            ValueError: the table, the labels or a parameter cannot be used; PlanInfeasible (one too) names the smallest
                envelope that would do.
        """
        self._expect_target(y)
        name = column_name(y)
        y = validate_data(self, y=y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:  # noqa: PLR2004 - something to tell apart
            msg = f"Expected at least two classes in y, got one class only ({listed([str(c) for c in self.classes_])}): there is nothing to learn."
            raise DataError(msg)
        task = "binary" if len(self.classes_) == 2 else "multiclass"  # noqa: PLR2004 - two classes
        self._fit(self._read(X, reset=True), codes.astype(np.int64), task, name)
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "rows classes"]:  # noqa: N803 - scikit-learn's name
        """Probability of each of `classes_`; rows sum to 1."""
        chance = self._predicted(X)
        return np.asarray(chance / chance.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> Shaped[np.ndarray, " rows"]:  # noqa: N803 - scikit-learn's name
        """The most probable label."""
        chosen = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[chosen])
