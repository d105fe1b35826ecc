"""The model as MLflow loads it: this file is stored beside the weights ("model from code"), so that nothing is pickled.

It runs wherever the model is loaded, with the copy of `abi` that was stored with it.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class AbiModel(PythonModel):  # type: ignore[misc] # MLflow has no types
    """Predicts with the model in the folder ``artifacts["model"]``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights once."""
        from abi.families.stored import load

        self.model = load(context.artifacts["model"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - the signature is MLflow's
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Column `prediction` and, for classification, one column per class with its probability."""
        predicted: pd.DataFrame = self.model.predict(model_input)
        return predicted


set_model(AbiModel())
