"""Tables in memory: the same problem and rows as from a file, whatever library held them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abi.config import load_config
from abi.data.convert import convert
from abi.data.infer import infer_schema
from abi.data.memory import hash_table, hold, read_memory, to_arrow
from abi.data.source import hash_file
from abi.errors import DataError, UsageError

ROWS = 300
CONFIG = load_config()


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "number": random.normal(size=ROWS),
            "whole": random.integers(0, 50, ROWS),
            "flag": random.integers(0, 2, ROWS).astype(bool),
            "text": random.choice(["red", "green", "blue"], ROWS),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS), unit="h"),
            "y": random.choice(["no", "yes"], ROWS),
        }
    )
    made.loc[3, "number"] = np.nan
    made.loc[4, "text"] = None
    return made


def _arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


FORMS: dict[str, Any] = {
    "polars": pl.from_pandas,
    "arrow": _arrow,
    "batch": lambda frame: _arrow(frame).combine_chunks().to_batches()[0],
    "chunks": lambda frame: pa.concat_tables([_arrow(frame[:7]), _arrow(frame[7:])]),
    "slice": lambda frame: _arrow(pd.concat([frame[:5], frame])).slice(5),
    "other index": lambda frame: frame.set_axis(range(7, 7 + ROWS)),
    "objects": lambda frame: frame.astype(object),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_library_makes_no_difference(frame: pd.DataFrame, form: str) -> None:
    plain, other = (read_memory(data, "y", CONFIG) for data in (frame, FORMS[form](frame)))
    assert other.problem.id == plain.problem.id
    for mine, theirs in zip((plain.load("train"),), (other.load("train"),), strict=True):
        np.testing.assert_array_equal(mine.numeric, theirs.numeric)
        np.testing.assert_array_equal(mine.target, theirs.target)


def test_the_same_rows_and_kinds_as_from_a_parquet_file(frame: pd.DataFrame, tmp_path: Any) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(_arrow(frame), path)
    table = convert(path, tmp_path / "tables", hash_file(path).sha256)
    reader = read_memory(frame, "y", CONFIG)
    assert reader.problem.schema == infer_schema(table, "y", CONFIG.data)
    assert hold(to_arrow(frame)).profile == table.profile
    assert hold(to_arrow(frame)).sample().equals(table.sample())


def test_rows_are_divided_into_training_and_validation_only(frame: pd.DataFrame) -> None:
    reader = read_memory(frame, "y", CONFIG)
    train, validation = reader.load("train"), reader.load("validation")
    assert sorted([*train.row_numbers, *validation.row_numbers]) == list(range(ROWS))
    assert 20 < len(validation) < 75
    with pytest.raises(DataError, match="rows for test"):
        reader.load("test")


def test_a_test_table_is_read_by_the_training_table_s_schema(frame: pd.DataFrame) -> None:
    reader = read_memory(frame, "y", CONFIG, test=frame[:40])
    assert len(reader.load("test")) == 40
    assert [file.role for file in reader.problem.snapshot.files] == ["train", "test"]


def test_a_changed_cell_changes_the_snapshot(frame: pd.DataFrame) -> None:
    hashes = {hash_table(hold(to_arrow(frame)))[0]}
    for column, value in (("number", 9.0), ("whole", 99), ("text", "reds"), ("flag", not frame.loc[0, "flag"])):
        other = frame.copy()
        other.loc[0, column] = value
        hashes.add(hash_table(hold(to_arrow(other)))[0])
    missing = frame.copy()
    missing.loc[0, "number"] = np.nan
    zero = frame.copy()
    zero.loc[0, "number"] = 0.0
    hashes |= {hash_table(hold(to_arrow(one)))[0] for one in (missing, zero, frame.rename(columns={"flag": "flags"}))}
    assert len(hashes) == 8


def test_what_came_as_categories_stays_so(frame: pd.DataFrame) -> None:
    kinds = {
        f.name: f.kind for f in read_memory(frame.astype({"whole": "category"}), "y", CONFIG).problem.schema.features
    }
    assert kinds["whole"] == "categorical"
    told = load_config(settings={"data.columns": {"whole": "numeric"}})
    kinds = {
        f.name: f.kind for f in read_memory(frame.astype({"whole": "category"}), "y", told).problem.schema.features
    }
    assert kinds["whole"] == "numeric"


@pytest.mark.parametrize("seed", range(20))
def test_a_small_table_s_split_teaches_every_class_and_validates(seed: int) -> None:
    small = pd.DataFrame({"x": np.arange(12.0) ** 2, "y": ["a"] * 6 + ["b"] * 4 + ["c"] * 2})
    reader = read_memory(small, "y", load_config(settings={"seed": seed}), least_rows=2)
    train = reader.load("train")
    assert set(train.target.tolist()) == {0, 1, 2}  # type: ignore[union-attr]  # a target was asked for
    assert len(reader.load("validation"))


def test_whole_numbers_beyond_64_bits_become_float_in_every_block() -> None:
    column = pa.chunked_array([pa.array([1, 2], pa.uint64())] * 40_000 + [pa.array([2**64 - 1], pa.uint64())])
    table = hold(pa.table({"x": column}))
    assert table.column("x").type == "float"
    assert table.column("x").maximum == 2.0**64
    assert table.rows == 80_001


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), DataError, "'x' more than once"),
        (pd.DataFrame({"x": [1.0] * 30}), UsageError, "target column"),
        (pd.DataFrame({"x": [], "y": []}), DataError, "got none"),
        (pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]}), DataError, "at least 20 rows"),
        (np.zeros(3), DataError, "two dimensions"),
        ([[1, 2]], DataError, "got list"),
    ],
)
def test_mistakes_get_one_sentence(data: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        read_memory(data, "y", CONFIG)
