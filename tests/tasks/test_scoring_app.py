"""What MLflow's server says of rows that it refuses, in one sentence."""

from __future__ import annotations

import json
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # MLflow's, about types of its own
    from tasks.scoring_app import plainly


@pytest.mark.parametrize("names", [["size"], ["price [EUR]"], ["Error: count", "it's", 'b"c', "d'\"e", "f\\"]])
@pytest.mark.parametrize(
    "around",
    [
        "Failed to predict data 'x'. \nError: Model is missing inputs {}.",
        "Failed to predict data ''. \nError: Failed to enforce schema of data 'a' with schema '[]'. Error: Model is missing inputs {}. Note that there were extra inputs: ['z']",
    ],
)
def test_columns_that_are_missing_are_named_whatever_they_are_called(names: list[str], around: str) -> None:
    said = plainly(json.dumps({"message": around.format(names)}).encode())
    listed = ", ".join(map(repr, names))
    assert said.startswith(f"Expected the columns that the model was trained on, got no {listed}: add ")


def test_the_rows_are_not_repeated() -> None:
    message = "Failed to predict data 'None'. \nError: Failed to enforce schema of data 'None' with schema '[]'. Error: Expected input to be DataFrame. Found: NoneType"
    assert plainly(json.dumps({"message": message}).encode()) == "Expected input to be DataFrame. Found: NoneType"
