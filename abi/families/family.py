"""What the rest of the code needs of a trained model, whatever its family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from abi.metrics import at_half
from abi.problem import Schema

if TYPE_CHECKING:
    import pandas as pd

    from abi.data.columns import Columns
    from abi.data.history import History

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

    @property
    def thresholds(self) -> Float[np.ndarray, " labels"] | None:
        """Chances from which on labels are taken; None where the target has one class per row, or numbers."""
        ...

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predictions for raw rows: column `prediction`, and `probability_<class>` per class."""
        ...

    def predict_columns(self, columns: Columns) -> Float[np.ndarray, "rows ..."]:
        """Probabilities (rows, classes or labels), or values (rows,) in the target's unit."""
        ...

    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        ...


def judged(model: Model, columns: Columns) -> Float[np.ndarray, "rows ..."]:
    """The predictions as metrics take them (`abi.metrics`): of labels, with the model's thresholds moved to one half."""
    chance = model.predict_columns(columns)
    return chance if model.thresholds is None else at_half(chance, model.thresholds)


def predict_frame(model: Model, frame: pd.DataFrame, history: History | None = None) -> pd.DataFrame:
    """Predictions for raw rows: column `prediction`, and `probability_<class>` per class.

    Of several labels per row, `prediction` has them as the target had: in a list, or as text with the separator.

    Raises:
        DataError: a feature's column is missing, or has text throughout where numbers are read.
    """
    import pandas as pd  # noqa: PLC0415 - training does not need it

    from abi.data.columns import columns_of, encode, expect_numbers, plainly_named  # noqa: PLC0415 - it brings pandas
    from abi.data.derive import derive_rows, raw_columns  # noqa: PLC0415 - as above

    schema = model.schema
    order = () if schema.derivation is None else (schema.derivation.order,)
    frame = plainly_named(frame, {*raw_columns(schema), *columns_of(schema.features), *order})
    expect_numbers(frame, schema)
    result: Any = model.predict_columns(encode(derive_rows(schema, frame, history), schema, with_target=False))
    if schema.task == "regression":
        return pd.DataFrame({"prediction": result}, index=frame.index)
    chosen: Any
    if model.thresholds is not None:
        taken = [[schema.classes[i] for i in np.flatnonzero(row)] for row in result >= model.thresholds]
        chosen = taken if schema.separator is None else [schema.separator.join(names) for names in taken]
        chosen = pd.Series(chosen, index=frame.index, dtype=object)
    else:
        chosen = np.array(schema.classes, dtype=object)[result.argmax(axis=1)]
    columns = {f"probability_{name}": result[:, i] for i, name in enumerate(schema.classes)}
    return pd.DataFrame({"prediction": chosen, **columns}, index=frame.index)
