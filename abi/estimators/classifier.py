"""The scikit-learn classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Shaped
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from abi.errors import DataError, listed
from abi.estimators.base import AttentionBalanced, column_name
from abi.estimators.documentation import documented
from abi.estimators.labels import Labels, read_labels


@documented(
    metric='"roc_auc", "accuracy", "balanced_accuracy", "f1_macro", "log_loss"; of several labels per row "f1_micro", "f1_macro", "subset_accuracy"; or "auto": ROC AUC for two classes, micro F1 for labels, else accuracy',
    classes_="the labels, sorted, as they came; of several per row those of y's columns",
    multilabel_="whether a row has any number of labels",
)
class AttentionBalancedClassifier(ClassifierMixin, AttentionBalanced):  # type: ignore[misc] # scikit-learn has no types
    """Classifier whose capacity follows attention, inside an envelope: one class per row, or any number of labels."""

    classes_: Shaped[np.ndarray, " classes"]
    multilabel_: bool
    _labels: Labels | None

    def fit(self, X: Any, y: Any) -> AttentionBalancedClassifier:  # noqa: N803 - scikit-learn's name
        """Learn the labels `y` of the rows of `X`.

        Args:
            X: the rows.
            y: a class per row, shape (rows,), or which labels a row has: zeros and ones, shape (rows, labels), also sparse.

        Raises:
            ValueError: the table, the labels or a parameter cannot be used; PlanInfeasible (one too) names the smallest
                envelope that would do.
        """
        self._forget()
        self._expect_target(y)
        name = column_name(y)
        several = read_labels(y)
        self._labels, self.multilabel_ = None if several is None else several[0], several is not None
        if several is not None:
            self.classes_ = several[0].names
            self._fit(self._read(X, reset=True), several[1], "multilabel", name)
            return self
        y = validate_data(self, y=y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:  # noqa: PLR2004 - something to tell apart
            none = "Expected a label per row in y, got no rows: give some."
            msg = (
                none
                if not len(y)
                else f"Expected at least two classes in y, got one class only ({listed([str(c) for c in self.classes_])}): there is nothing to learn."
            )
            raise DataError(msg)
        task = "binary" if len(self.classes_) == 2 else "multiclass"  # noqa: PLR2004 - two classes
        self._fit(self._read(X, reset=True), pa.array(codes.astype(np.int64)), task, name)
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "rows classes"]:  # noqa: N803 - scikit-learn's name
        """Probability of each of `classes_`; rows sum to 1, but for several labels per row."""
        chance = self._predicted(X)
        if self._labels is not None:
            return self._labels.predicted(chance, self._schema.classes)
        return np.asarray(chance / chance.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> Shaped[np.ndarray, "rows ..."]:  # noqa: N803 - scikit-learn's name
        """The most probable class; of several labels per row zeros and ones by the model's thresholds, shape (rows, labels)."""
        chance = self._predicted(X)
        if self._labels is not None:
            return self._labels.taken(chance, self._schema.classes, self.model_.thresholds)
        return np.asarray(self.classes_[chance.argmax(axis=1)])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
