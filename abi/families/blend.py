"""A network and trees together: a convex combination of what both predict."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float

from abi.errors import UsageError, WorkspaceError
from abi.families import artifact
from abi.families.family import MODEL, Model, predict_frame
from abi.families.trees import load_trees
from abi.problem import Schema
from abi.values import Value

if TYPE_CHECKING:
    import pandas as pd

    from abi.data.columns import Columns

PARTS: Final = ("network", "trees")


@dataclass(frozen=True, kw_only=True)
class BlendBlueprint(Value):
    """The network's share, and the hashes of both parts, which lie in folders of their names."""

    family: str
    weight: float
    network: str
    trees: str


@dataclass(frozen=True)
class Blend:
    """weight * network + (1 - weight) * trees."""

    network: Model
    trees: Model
    weight: float

    @property
    def schema(self) -> Schema:
        """Target, task and features."""
        return self.network.schema

    @property
    def parameters(self) -> int:
        """Of both."""
        return self.network.parameters + self.trees.parameters

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predictions for raw rows: column `prediction`, and `probability_<class>` per class.

        Raises:
            DataError: a feature's column is missing.
        """
        return predict_frame(self, frame)

    def predict_columns(self, columns: Columns) -> Float[np.ndarray, "rows ..."]:
        """Probabilities (rows, classes), or values (rows,) in the target's unit."""
        network, trees = self.network.predict_columns(columns), self.trees.predict_columns(columns)
        return np.asarray(self.weight * network + (1 - self.weight) * trees)

    @property
    def thresholds(self) -> None:
        """Trees have one class per row."""
        return None

    @property
    def blueprint(self) -> BlendBlueprint:
        """What is written beside the parts."""
        return BlendBlueprint(
            family="blend", weight=self.weight, network=self.network.artifact, trees=self.trees.artifact
        )

    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        parts = {f"{name}/{file}": data for name in PARTS for file, data in getattr(self, name).files().items()}
        return {MODEL: self.blueprint.canonical(), **parts}

    @property
    def artifact(self) -> str:
        """SHA-256 of the weight and both parts' hashes."""
        return hashlib.sha256(self.blueprint.canonical()).hexdigest()


def load_blend(folder: Path | str, plain: Any) -> Blend:
    """Read a folder of both, whose ``model.json`` is `plain`.

    Raises:
        WorkspaceError: a file is missing or damaged, or the parts are not those that were blended.
    """
    folder = Path(folder)
    try:
        blueprint = BlendBlueprint.from_json(plain)
        inner = json.loads((folder / "trees" / MODEL).read_bytes())
    except (OSError, ValueError, UsageError) as error:
        msg = f"Expected a whole model in {folder}, got damaged files: {error} Train the model again or restore the folder."
        raise WorkspaceError(msg) from None
    blend = Blend(artifact.load(folder / "network"), load_trees(folder / "trees", inner), blueprint.weight)
    if blend.blueprint != blueprint:
        msg = f"Expected the parts that were blended in {folder}, got others. Train the model again or restore the folder."
        raise WorkspaceError(msg)
    return blend
