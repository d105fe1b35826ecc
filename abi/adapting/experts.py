"""What learns beside the network: boosted trees, and trees of the change, each as a plan says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Int64, Shaped

from abi.adapting.stream import Stream, with_target
from abi.families.trees import TreesModel
from abi.problem import Schema
from abi.training.trees import train_trees
from abi.types import Plan

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

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
