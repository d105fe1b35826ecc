"""Models on disk, whatever their family."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from abi.data.history import History
from abi.errors import WorkspaceError
from abi.families import artifact
from abi.families.blend import load_blend
from abi.families.family import MODEL, Model, predict_frame
from abi.families.mixture import Mixture, load_mixture
from abi.families.trees import load_trees
from abi.problem import Schema

if TYPE_CHECKING:
    import pandas as pd

HISTORY: Final = "history.json"
"""Beside a model that knows users and items: what was known of them after its training rows (`abi.data.history`)."""
LOADERS: Final[dict[str, Callable[[Path, Any], Model]]] = {
    "network": lambda folder, _: artifact.load(folder),
    "trees": load_trees,
    "blend": load_blend,
    "mixture": lambda folder, plain: load_mixture(folder, plain, load),
}
"""Family -> what reads its folder, given what ``model.json`` holds."""


def load(folder: Path | str) -> Model:
    """Read a model folder of any family.

    Raises:
        WorkspaceError: a file is missing or damaged, or its parts do not belong together.
    """
    folder = Path(folder)
    try:
        plain: Any = json.loads((folder / MODEL).read_bytes())
    except (OSError, ValueError) as error:
        msg = f"Expected a model in {folder}, got: {error}. Train the model again or restore the folder."
        raise WorkspaceError(msg) from None
    family = plain.get("family") if isinstance(plain, dict) else None
    if family not in LOADERS:
        msg = f"Expected a model of family {', '.join(LOADERS)} in {folder}, got {family!r}. Train the model again or restore the folder."
        raise WorkspaceError(msg)
    return LOADERS[str(family)](folder, plain)


def load_history(folder: Path | str) -> History | None:
    """What the model takes along of users and items; None where it needs nothing.

    Raises:
        WorkspaceError: the file is damaged.
    """
    path = Path(folder) / HISTORY
    if not path.is_file():
        return None
    try:
        return History.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        msg = f"Expected a history in {path}, got: {error} Train the model again or restore the folder."
        raise WorkspaceError(msg) from None


@dataclass(frozen=True)
class Predictor:
    """A stored model with what it takes along: predicts for raw rows."""

    model: Model
    history: History | None

    @property
    def schema(self) -> Schema:
        """Target, task and features."""
        return self.model.schema

    @property
    def in_order(self) -> bool:
        """Whether what is said of a row depends on those before it, so that a table is predicted as a whole."""
        return isinstance(self.model, Mixture)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predictions for raw rows: column `prediction`, and `probability_<class>` per class.

        Raises:
            DataError: a feature's column is missing.
        """
        return predict_frame(self.model, frame, self.history)


def load_predictor(folder: Path | str) -> Predictor:
    """Read a model folder of any family, to predict for raw rows.

    Raises:
        WorkspaceError: as in `load` and `load_history`.
    """
    return Predictor(load(folder), load_history(folder))
