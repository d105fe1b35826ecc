"""The model as MLflow loads it: this file is stored beside the weights ("model from code"), so that nothing is pickled.

It runs wherever the model is loaded, with the copy of `abi` that was stored with it. This code is itself part of the
signed folder: what verifies it is `abi serve` or `Tracking.load`, before it runs; what it verifies are the weights.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import PythonModel, PythonModelContext


class AbiModel(PythonModel):  # type: ignore[misc] # MLflow has no types
    """Predicts with the model in the folder ``artifacts["model"]``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights once; where the environment names trusted public keys, only after verifying their signature."""
        from abi.families.stored import load_predictor

        folder = Path(context.artifacts["model"])
        trusted = os.environ.get("ABI_SIGNING__PUBLIC_KEY")
        if trusted:
            from abi.audit.model_keys import public_keys
            from abi.audit.signing import verify

            verify(folder, public_keys(Path(trusted)), folder.name)
        self.model = load_predictor(folder)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - the signature is MLflow's
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Column `prediction` and, for classification, one column per class with its probability.

        Raises:
            MlflowException: a column is missing, or holds what is no value; a server answers with the sentence and 400.
        """
        from abi.errors import AbiError

        try:
            predicted: pd.DataFrame = self.model.predict(model_input)
        except AbiError as error:
            raise MlflowException(str(error), error_code=BAD_REQUEST) from error
        return predicted


set_model(AbiModel())
