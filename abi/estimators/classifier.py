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


class AttentionBalancedClassifier(ClassifierMixin, AttentionBalanced):  # type: ignore[misc] # scikit-learn has no types
    """Classifier whose capacity follows attention, inside an envelope.

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
        metric: "roc_auc", "accuracy", "log_loss", or "auto": ROC AUC for two classes, else accuracy.
        random_state: of the split and of training; equal numbers give equal models.
        n_jobs: processor threads, -1 for all; None is one for small tables and torch's own number for others.
        settings: any other setting of ``abi.yaml`` by its dotted name, such as {"attention.floor": 0.1}.
        verbose: write one line per step.

    Attributes:
        classes_: the labels, sorted, as they came.
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
