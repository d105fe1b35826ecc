"""What MLflow's server says of rows that it refuses, in one sentence."""

from __future__ import annotations

import io
import json
import warnings

import pyarrow.parquet as pq
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # MLflow's, about types of its own
    from tasks.scoring_app import as_parquet, plainly


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


def test_one_row_is_spelled_as_it_is_among_others() -> None:
    rows = pq.read_table(io.BytesIO(as_parquet(b"version,size\n1.10,2\n", ("version",))))
    assert rows.to_pylist() == [{"version": "1.10", "size": 2}]
    assert pq.read_table(io.BytesIO(as_parquet(b"version,size\n1.10,2\n"))).to_pylist() == [{"version": 1.1, "size": 2}]
