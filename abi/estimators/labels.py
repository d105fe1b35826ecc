"""Several labels per row, as scikit-learn writes them: a table of rows x labels, 1 where a row has a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float, Shaped
from sklearn.utils.multiclass import is_multilabel
from sklearn.utils.validation import check_array

from abi.errors import DataError, listed
from abi.metrics import HALF

LEAST_CHANCE: Final = 1e-7
"""No label is certain: of one that no row had, this is the probability."""


@dataclass(frozen=True)
class Labels:
    """The labels of a target.

    Attributes:
        names: as the columns of a frame are called, else 0, 1, ..
        dtype: of the target, in which predictions come back.
    """

    names: Shaped[np.ndarray, " labels"]
    dtype: np.dtype[Any]

    def predicted(
        self, chance: Float[np.ndarray, "rows known"], known: tuple[str, ...]
    ) -> Float[np.ndarray, "rows labels"]:
        """Probabilities of all labels from those of the ones that rows had, which the core names by their places."""
        whole = np.full((len(chance), len(self.names)), LEAST_CHANCE)
        whole[:, [int(name) for name in known]] = np.clip(chance, LEAST_CHANCE, 1 - LEAST_CHANCE)
        return whole

    def taken(
        self,
        chance: Float[np.ndarray, "rows known"],
        known: tuple[str, ...],
        thresholds: Float[np.ndarray, " known"] | None,
    ) -> Shaped[np.ndarray, "rows labels"]:
        """Which labels each row has, by the thresholds of the ones that rows had; without any, from one half on."""
        whole = np.full(len(self.names), HALF)
        whole[[int(name) for name in known]] = HALF if thresholds is None else thresholds
        return (self.predicted(chance, known) >= whole).astype(self.dtype)


def read_labels(y: Any) -> tuple[Labels, pa.Array] | None:
    """The labels of `y` and, for each row, the places of its own as the core reads them; None where a row has one class.

    Raises:
        DataError: no row has a label, every row has all of them, or there are other values than 0 and 1.
    """
    framed = isinstance(y, pd.DataFrame)
    names = np.asarray(y.columns) if framed else None
    given = y.to_numpy() if framed else y
    if not is_multilabel(given):
        return None
    table = check_array(given, accept_sparse=True, input_name="y")
    table = table.toarray() if hasattr(table, "toarray") else table
    others = np.setdiff1d(table, (0, 1))
    if len(others):
        msg = f"Expected zeros and ones in y, a column for each label, got {listed([str(v) for v in others.tolist()])}: write 1 where a row has the label and 0 where it has not."
        raise DataError(msg)
    has = table == 1
    if has.all() or not has.any():
        every = "every label" if has.any() else "none"
        msg = f"Expected rows that differ in their labels in y, got {every} in all {len(has):,}: there is nothing to learn."
        raise DataError(msg)
    own = [[str(place) for place in np.flatnonzero(row)] for row in has]
    names = np.arange(has.shape[1]) if names is None else names
    return Labels(names, table.dtype), pa.array(own, pa.list_(pa.string()))
