"""What predicts beside the network: persistence, boosted trees, and trees of the change. All of them learn as a plan says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Int64, Shaped

from abi.adapting.stream import Stream, with_target
from abi.families.trees import TreesModel
from abi.problem import Schema
from abi.training.trees import train_trees
from abi.types import Plan

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns
    from abi.metrics import Prediction

JUDGE_ROWS: Final = 50
"""LightGBM wants rows to look at after each round; all rounds are kept whatever these say."""
STAYS: Final = ("changes", "stays")


def grow(
    plan: Plan, columns: Columns, target: Shaped[np.ndarray, " _"], rows: Int64[np.ndarray, " _"], config: Config
) -> TreesModel:
    """Trees on those rows, as many rounds as the plan says."""
    assert plan.trees is not None
    taught, seen = (with_target(columns, target, some) for some in (rows, rows[-JUDGE_ROWS:]))
    return train_trees(plan, taught, seen, config, seed=config.seed, rounds=plan.trees.rounds).model


def persistence(last: Shaped[np.ndarray, " rows"], stay: float, known: tuple[int, ...], classes: int) -> Prediction:
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


def stay_share(known: Int64[np.ndarray, " labelled"]) -> float:
    """How often a label was followed by itself; one more of each is assumed."""
    same = int((known[1:] == known[:-1]).sum())
    return (same + 1) / (max(0, len(known) - 1) + 2)


def change_schema(schema: Schema) -> Schema:
    """The problem that trees of the change learn: does the last known label stay, or by how much does the value move."""
    if schema.task == "regression":
        return replace(schema, target=f"change of {schema.target}")
    return replace(schema, target=f"{schema.target} stays", task="binary", classes=STAYS)


def change_labels(stream: Stream, last: Shaped[np.ndarray, " rows"]) -> Shaped[np.ndarray, " rows"]:
    """What they are taught, per row: whether the label is the last known one again, or the difference to it."""
    if stream.numeric:
        return np.asarray(stream.codes - last)
    known = (stream.codes >= 0) & (last >= 0)
    said = np.array(STAYS, dtype=object)[(stream.codes == last).astype(np.int64)]
    said[~known] = None
    return np.asarray(said)


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


def padded(prediction: Prediction, places: tuple[int, ...], classes: int) -> Prediction:
    """Probabilities over a model's own classes as ones over all; none for a class that it does not know."""
    if prediction.ndim == 1:
        return prediction
    result = np.zeros((len(prediction), classes + 1))
    for i, place in enumerate(places):  # what no row ever has stands past the end
        result[:, place] += prediction[:, i]
    return result[:, :classes]
