"""What the rest of the code needs of a trained model, whatever its family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from abi.problem import Schema

if TYPE_CHECKING:
    import pandas as pd

    from abi.data.columns import Columns

MODEL = "model.json"
"""Every model folder holds this file; its `family` says what reads the rest."""


@runtime_checkable
class Model(Protocol):
    """A trained model that predicts for tables as they come, and saves itself without pickle."""

    @property
    def schema(self) -> Schema:
        """Target, task and features."""
        ...

    @property
    def parameters(self) -> int:
        """Learned numbers that it holds."""
        ...

    @property
    def artifact(self) -> str:
        """SHA-256 of what was learned."""
        ...

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predictions for raw rows: column `prediction`, and `probability_<class>` per class."""
        ...

    def predict_columns(self, columns: Columns) -> Float[np.ndarray, "rows ..."]:
        """Probabilities (rows, classes), or values (rows,) in the target's unit."""
        ...

    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        ...


def predict_frame(model: Model, frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions for raw rows: column `prediction`, and `probability_<class>` per class.

    Raises:
        DataError: a feature's column is missing.
    """
    import pandas as pd  # noqa: PLC0415 - training does not need it

    from abi.data.columns import encode  # noqa: PLC0415 - it brings pandas

    schema = model.schema
    result: Any = model.predict_columns(encode(frame, schema, with_target=False))
    if schema.task == "regression":
        return pd.DataFrame({"prediction": result}, index=frame.index)
    chosen = np.array(schema.classes, dtype=object)[result.argmax(axis=1)]
    columns = {f"probability_{name}": result[:, i] for i, name in enumerate(schema.classes)}
    return pd.DataFrame({"prediction": chosen, **columns}, index=frame.index)
