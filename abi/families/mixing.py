"""What experts of a mixture say that are no models by themselves: the last label again, and a change of it; all over the same classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

if TYPE_CHECKING:
    from abi.metrics import Prediction


def persistence(last: Shaped[np.ndarray, " rows"], stay: float, known: Sequence[int], classes: int) -> Prediction:
    """The last known label again.

    Args:
        last: per row, its number (-1 where none is known), or its value where `classes` is 0.
        stay: how often it was the next one too.
        known: classes over which the rest of the probability is spread.
        classes: how many there are in all.
    """
    if not classes:
        return last
    result = np.zeros((len(last), classes))
    result[:, list(known)] = 1 / max(1, len(known))
    there = last >= 0
    rest = result[there] * (1 - stay)
    rest[np.arange(len(rest)), last[there]] += stay
    result[there] = rest / rest.sum(axis=1, keepdims=True)
    return result


def changed(
    found: Prediction, last: Shaped[np.ndarray, " rows"], otherwise: Float[np.ndarray, "rows classes"] | None
) -> Prediction:
    """What trees of the change predict.

    P(last) = p and P(c) = (1 - p) q(c) / (1 - q(last)) for the others, with p what they say and q what is believed otherwise.

    Args:
        found: their prediction: (rows, 2), or differences.
        last: the last known labels.
        otherwise: q; None in regression.
    """
    if otherwise is None:
        return np.asarray(np.where(np.isnan(last), found, last + found))
    q, rows = otherwise.copy(), np.arange(len(last))
    there = last >= 0
    at = rows[there], last[there]
    q[at] = 0
    total = q.sum(axis=1, keepdims=True)
    q = q / np.where(total > 0, total, 1)  # where nothing else is believed in, nothing else is said
    result = np.where(there[:, None], q * (1 - found[:, 1:]), otherwise)
    result[at] = found[there, 1]
    return np.asarray(result)


def padded(prediction: Prediction, places: Sequence[int], classes: int) -> Prediction:
    """Probabilities over a model's own classes as ones over all; none for a class that it does not know."""
    if prediction.ndim == 1:
        return prediction
    result = np.zeros((len(prediction), classes + 1))
    for i, place in enumerate(places):  # what no row ever has stands past the end
        result[:, place] += prediction[:, i]
    return result[:, :classes]
