"""The `trees` family: LightGBM's boosted trees (Ke et al. 2017), saved as their text form and a blueprint.

Attention drives what growing cannot undo: the gain of a split is multiplied by its feature's contribution, and a
feature's histogram has the bins that the plan gave it.

A tree's parameters are counted as its leaf values and its split thresholds: 2 L - 1 for L leaves (a split by category
counts each 32 of its categories as one more threshold). Tables of target statistics count each entry.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float

from abi.errors import UsageError, WorkspaceError
from abi.families.encoding import TreeEncoding, matrix
from abi.families.family import MODEL, predict_frame
from abi.problem import Schema
from abi.trees_capacity import TreesCapacity
from abi.values import Value

if TYPE_CHECKING:
    import pandas as pd
    from lightgbm import Booster

    from abi.data.columns import Columns

TREES: Final = "trees.txt"
HEAD: Final = "blueprint="
"""The file's first line names the blueprint, the blueprint the rest: neither can change alone."""
FEW_ROWS: Final = 5000
"""Below this one thread answers sooner than several."""
_BLOCK = re.compile(r"^Tree=\d+$", re.MULTILINE)
_LEAVES = re.compile(r"^num_leaves=(\d+)$", re.MULTILINE)
_CATEGORIES = re.compile(r"^cat_threshold=(.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class TreesBlueprint(Value):
    """All that is needed to predict beside the trees themselves; `trees_sha256` names these."""

    family: str
    schema: Schema
    capacity: TreesCapacity
    encoding: TreeEncoding
    trees_sha256: str


@dataclass(frozen=True)
class TreesModel:
    """Boosted trees with their blueprint: predicts for tables as they come."""

    blueprint: TreesBlueprint
    booster: Booster
    text: str
    threads: int = 0

    @property
    def schema(self) -> Schema:
        """Target, task and features."""
        return self.blueprint.schema

    @property
    def parameters(self) -> int:
        """Leaf values, split thresholds and entries of statistics."""
        return sum(tree_parameters(self.text)) + self.blueprint.encoding.numbers

    @property
    def thresholds(self) -> None:
        """Trees have one class per row."""
        return None

    @property
    def rounds(self) -> int:
        """Rounds of boosting."""
        return int(self.booster.current_iteration())

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predictions for raw rows: column `prediction`, and `probability_<class>` per class.

        Raises:
            DataError: a feature's column is missing.
        """
        return predict_frame(self, frame)

    def predict_columns(self, columns: Columns) -> Float[np.ndarray, "rows ..."]:
        """Probabilities (rows, classes), or values (rows,) in the target's unit."""
        return self.predict_matrix(matrix(self.blueprint.encoding, columns))

    def predict_matrix(self, rows: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows ..."]:
        """The same for encoded rows."""
        schema, encoding = self.schema, self.blueprint.encoding
        if not len(rows):
            return np.zeros((0, len(schema.classes)) if schema.classes else (0,))
        threads = 1 if len(rows) <= FEW_ROWS else self.threads
        result: Any = self.booster.predict(rows, num_threads=threads)
        if schema.task == "regression":
            return np.asarray(result * encoding.target_deviation + encoding.target_mean)
        return np.column_stack([1 - result, result]) if schema.task == "binary" else np.asarray(result)

    def cut(self, parameters: int) -> TreesModel | None:
        """The first rounds of the same trees that hold at most so many parameters; None where not even one does."""
        counts = tree_parameters(self.text)
        per_round = np.array(counts).reshape(self.rounds, -1).sum(axis=1)
        left = parameters - (self.parameters - sum(counts))
        rounds = int(np.searchsorted(per_round.cumsum(), left, side="right"))
        if rounds >= self.rounds:
            return self
        if rounds < 1:
            return None
        text = self.booster.model_to_string(num_iteration=rounds)
        return made(self.blueprint, text, self.threads)

    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        return {
            TREES: f"{HEAD}{self.blueprint.id}\n{self.text}".encode(),
            MODEL: self.blueprint.canonical(),
        }

    @property
    def artifact(self) -> str:
        """SHA-256 of the trees' file, which names its blueprint."""
        return hashlib.sha256(self.files()[TREES]).hexdigest()


def made(blueprint: TreesBlueprint, text: str, threads: int = 0) -> TreesModel:
    """The model of these trees; its blueprint gets their hash."""
    from lightgbm import Booster  # noqa: PLC0415 - two seconds to import

    digest = hashlib.sha256(text.encode()).hexdigest()
    return TreesModel(replace(blueprint, trees_sha256=digest), Booster(model_str=text), text, threads)


def tree_parameters(text: str) -> list[int]:
    """Parameters of each tree in LightGBM's text form: 2 L - 1, and one for each further word of a category set."""
    counts = []
    for block in _BLOCK.split(text)[1:]:
        leaves = _LEAVES.search(block)
        words = _CATEGORIES.search(block)
        sets = re.search(r"^num_cat=(\d+)$", block, re.MULTILINE)
        more = len(words[1].split()) - int(sets[1]) if words and sets else 0
        counts.append(2 * int(leaves[1] if leaves else 1) - 1 + max(0, more))
    return counts


def load_trees(folder: Path | str, plain: Any) -> TreesModel:
    """Read a folder of trees, whose ``model.json`` is `plain`.

    Raises:
        WorkspaceError: a file is missing or damaged, or trees and blueprint do not belong together.
    """
    from lightgbm.basic import LightGBMError  # noqa: PLC0415

    folder = Path(folder)
    remedy = "Train the model again or restore the folder."
    try:
        blueprint = TreesBlueprint.from_json(plain)
        head, _, text = (folder / TREES).read_bytes().decode().partition("\n")
    except (OSError, UnicodeDecodeError, UsageError) as error:
        msg = f"Expected a whole model in {folder}, got damaged files: {error} {remedy}"
        raise WorkspaceError(msg) from None
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != blueprint.trees_sha256 or head != f"{HEAD}{blueprint.id}":
        msg = f"Expected {MODEL} and {TREES} of one model in {folder}, got content that was changed. {remedy}"
        raise WorkspaceError(msg)
    try:
        return made(blueprint, text)
    except LightGBMError as error:
        msg = f"Expected trees that LightGBM reads in {folder}, got: {error}. {remedy}"
        raise WorkspaceError(msg) from None
